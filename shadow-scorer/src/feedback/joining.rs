//! Joins waiting feedback to its event once that is stored, and deletes old feedback.

use std::time::Duration;

use super::record::{FeedbackError, Given, MOST_WAITING, Outcome, join};
use super::{Action, FeedbackRequest};
use crate::store::{Store, StoreError, WaitingFeedback};

/// Interval at which waiting feedback is joined: events are stored some tens of milliseconds after they are known.
const INTERVAL: Duration = Duration::from_millis(500);
/// Old feedback is deleted after this number of rounds: ten minutes.
const DELETE_EVERY: u32 = 1_200;
const DELETE_PAUSE: Duration = Duration::from_millis(200);
/// Most feedback joined in one round.
const MOST_JOINED: u32 = 500;
/// Seconds for which feedback waits: an event that is not stored by then was dropped, or never existed.
const LONGEST_WAIT: i64 = 600;
/// The same while more than half of the limit is used, so that invented ids do not block others.
const LONGEST_WAIT_WHEN_CROWDED: i64 = 5;

/// How the waiting of feedback ended.
#[derive(Debug)]
pub enum Ended {
    /// It was joined to its event.
    Joined(Action, Outcome),
    /// It does not fit its event, or exceeds a limit per user.
    Refused,
    /// The events of so much feedback were not stored in time.
    Expired(u64),
}

/// Joins feedback whose event is stored, and deletes feedback that waited too long at `now` (seconds since 1970);
/// `ended` is called with each outcome.
///
/// # Errors
/// If the store fails; the remaining feedback waits for the next round.
pub async fn join_waiting(store: &Store, now: i64, mut ended: impl FnMut(Ended)) -> Result<(), StoreError> {
    for waiting in store.joinable(MOST_JOINED).await? {
        let Some(event) = store.event(&waiting.event_id).await? else { continue };
        let request = request(&waiting);
        match join(store, &request, &event, Given::Earlier(waiting.received_at)).await {
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
    let expired = store.forget_waiting(now - if crowded { LONGEST_WAIT_WHEN_CROWDED } else { LONGEST_WAIT }).await?;
    if expired > 0 {
        ended(Ended::Expired(expired));
    }
    Ok(())
}

/// Joins at regular intervals, and deletes feedback older than `keep`.
pub async fn keep_joining(
    store: Store,
    keep: Duration,
    now: impl Fn() -> i64 + Send,
    mut ended: impl FnMut(Ended) + Send,
) {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failing, mut rounds) = (false, 0_u32);
    loop {
        ticks.tick().await;
        let mut done = join_waiting(&store, now(), &mut ended).await;
        if done.is_ok() && rounds.is_multiple_of(DELETE_EVERY) {
            done = forget(&store, now().saturating_sub(keep)).await;
        }
        rounds = rounds.wrapping_add(1);
        // Once per outage, not once per round.
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
        tokio::time::sleep(DELETE_PAUSE).await;
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
