//! What becomes of feedback after it was taken: joined to its event once that is stored, forgotten when it is old.

use std::time::Duration;

use super::record::{FeedbackError, MOST_WAITING, Outcome, Said, join};
use super::{Action, FeedbackRequest};
use crate::store::{Store, StoreError, WaitingFeedback};

/// How often waiting feedback is looked at: the store writes events some tens of milliseconds after they are known.
const EVERY: Duration = Duration::from_millis(500);
/// Looks after which old feedback is forgotten: ten minutes.
const FORGET_AFTER: u32 = 1_200;
const FORGET_PAUSE: Duration = Duration::from_millis(200);
/// Feedback joined in one look.
const MOST_JOINED: u32 = 500;
/// Seconds for which feedback waits: an event that is not stored by then was dropped, or never was.
const PATIENCE: i64 = 600;
/// The same while more than half of the room is taken, so that made-up ids do not keep it.
const IMPATIENCE: i64 = 5;

/// What ended the waiting of one answer.
#[derive(Debug)]
pub enum Ended {
    /// It was joined.
    Joined(Action, Outcome),
    /// It does not fit its event, or is more than a person says.
    Refused,
    /// Its event was not stored in time; how many.
    Expired(u64),
}

/// Joins what can be joined and forgets what waited too long at `now` (seconds since 1970); `ended` gets each outcome.
///
/// # Errors
/// When the store cannot be asked; the rest waits for the next time.
pub async fn join_waiting(store: &Store, now: i64, mut ended: impl FnMut(Ended)) -> Result<(), StoreError> {
    for waiting in store.joinable(MOST_JOINED).await? {
        let Some(event) = store.event(&waiting.event_id).await? else { continue };
        let request = request(&waiting);
        match join(store, &request, &event, Said::Before(waiting.received_at)).await {
            Ok(outcome) => ended(Ended::Joined(request.action, outcome)),
            Err(FeedbackError::Store(error)) => return Err(error),
            Err(refused) => {
                tracing::debug!(error = %refused, "waiting_feedback_refused");
                ended(Ended::Refused);
            }
        }
        store.joined(&waiting).await?;
    }
    let crowded = store.count_waiting().await? > i64::from(MOST_WAITING / 2);
    let expired = store.forget_waiting(now - if crowded { IMPATIENCE } else { PATIENCE }).await?;
    if expired > 0 {
        ended(Ended::Expired(expired));
    }
    Ok(())
}

/// Does so again and again, and forgets feedback older than `keep`.
pub async fn keep_joining(
    store: Store,
    keep: Duration,
    now: impl Fn() -> i64 + Send,
    mut ended: impl FnMut(Ended) + Send,
) {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failing, mut looks) = (false, 0_u32);
    loop {
        ticks.tick().await;
        let mut done = join_waiting(&store, now(), &mut ended).await;
        if done.is_ok() && looks.is_multiple_of(FORGET_AFTER) {
            done = forget(&store, now().saturating_sub(keep)).await;
        }
        looks = looks.wrapping_add(1);
        // Once a trouble, not once a look.
        match &done {
            Err(error) if !failing => tracing::warn!(%error, "feedback_not_joined"),
            Ok(()) if failing => tracing::info!("feedback_joined_again"),
            _ => {}
        }
        failing = done.is_err();
    }
}

async fn forget(store: &Store, before: i64) -> Result<(), StoreError> {
    while store.forget_feedback(before).await? > 0 {
        tokio::time::sleep(FORGET_PAUSE).await;
    }
    Ok(())
}

fn request(waiting: &WaitingFeedback) -> FeedbackRequest {
    FeedbackRequest {
        txn_id: waiting.txn_id,
        action: if waiting.action == Action::Accept.as_str() { Action::Accept } else { Action::Reject },
        label: waiting.label.clone(),
        event_id: Some(waiting.event_id.clone()),
        confidence: waiting.confidence,
        reason: waiting.reason.clone(),
        bucket: Some(waiting.bucket.clone()).filter(|bucket| !bucket.is_empty()),
    }
}
