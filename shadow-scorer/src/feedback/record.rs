//! Records feedback: joins it to its event, and derives a label.
//!
//! **Join.** Arm, version and user come from the event of `event_id`, never from the client. Feedback on an event that
//! is not known yet is accepted, waits, and is joined later ([`super::joining`]). An event of another transaction is
//! refused, and so is one of another user, if the gateway tells who sends the feedback. An event id is a random number
//! that only the served client has seen; feedback without one is stored, once per transaction, and counts for no arm.
//!
//! **Latest feedback.** Each event has one row, with the user's latest feedback: accept rates count each event once, by
//! it. (The counter of predictions counts the first, since a counter cannot decrease.) Repeated feedback changes
//! nothing. The row that makes it count is stored last, so that feedback that was interrupted is completed when it is
//! repeated.
//!
//! **Labels.** An accept tells what the transaction is: its label is stored (source `feedback`). A reject of the
//! suggested label tells only what it is not: no label is stored, and one from earlier feedback is withdrawn if it is
//! the rejected one, or came from this event. A reject with another label than the suggested one is a correction: that
//! label is stored. `unknown` is never a label, a label outside the closed set is refused, and an event without a user
//! gives no label.
//!
//! **Limits.** A user may give feedback on [`MOST_A_DAY`] suggestions a day and change that on each [`MOST_CHANGES`]
//! times; a transaction's label may change [`CurrentLabel::MOST`] times; [`MOST_WAITING`] feedback rows may wait for
//! their events.

use super::{Action, FeedbackRequest};
use crate::store::{
    CurrentLabel, FeedbackRow, LabelSource, NewLabel, Recorded, Store, StoreError, StoredFeedback, SuggestionEvent,
    WaitingFeedback, Waits,
};
use crate::suggestions::UNKNOWN_LABEL;

/// Suggestions on which a user may give feedback within a day: far more than a person sees.
pub const MOST_A_DAY: u32 = 1_000;
/// How often a user may change the feedback on one suggestion.
pub const MOST_CHANGES: i64 = 20;
/// Most feedback that waits for its events.
pub const MOST_WAITING: u32 = 10_000;
const DAY: i64 = 86_400;

/// How feedback was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was new, a change, or a repetition.
    pub recorded: Recorded,
    /// `true` if it waits for its event.
    pub waiting: bool,
    /// The arm that was served, `baseline` or `candidate`; `None` if no event is known.
    pub arm: Option<String>,
    /// The version that was served, for the arm `candidate`.
    pub model_version: Option<String>,
    /// `true` if a label was stored.
    pub labelled: bool,
}

/// Why feedback was refused.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// There is no such transaction.
    #[error("txn_id {0} is not known: give the id of a transaction in the store")]
    NoTransaction(i64),
    /// The event is of another transaction.
    #[error(
        "event_id is of another transaction than txn_id {0}: send the event_id that came with this transaction's suggestion"
    )]
    OtherTransaction(i64),
    /// The event is of another user.
    #[error("event_id is of a suggestion to another user: send the event_id that came with your own suggestion")]
    OtherUser,
    /// The label is not in the closed set.
    #[error("label is {label:?}: give one of {known}")]
    UnknownLabel {
        /// What it was.
        label: String,
        /// The closed set.
        known: String,
    },
    /// A limit per user or transaction is exceeded.
    #[error("{0}: further feedback is refused")]
    TooMany(&'static str),
    /// Too much feedback waits.
    #[error("feedback on {MOST_WAITING} events that are not stored is waiting: try again in a second")]
    NoRoom,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores `request`, received at `now` (seconds since 1970).
///
/// # Errors
/// See [`FeedbackError`]; nothing is stored then.
pub async fn record(store: &Store, request: &FeedbackRequest, now: i64) -> Result<Outcome, FeedbackError> {
    if store.entities(&[request.txn_id]).await?.is_empty() {
        return Err(FeedbackError::NoTransaction(request.txn_id));
    }
    let Some(event_id) = &request.event_id else {
        known_label(store, request)?;
        let recorded = store.record_feedback(&row(request, None, now)).await?;
        return Ok(Outcome { recorded, waiting: false, arm: None, model_version: None, labelled: false });
    };
    match store.event(event_id).await? {
        Some(event) => join(store, request, &event, Given::Now(now)).await,
        None => {
            known_label(store, request)?;
            let_wait(store, request, event_id, now).await
        }
    }
}

/// When feedback was given, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    /// Just now: it is the latest even if a clock was set back, or another scorer's clock is ahead.
    Now(i64),
    /// Some time ago: it is the latest unless there is newer feedback.
    Earlier(i64),
}

/// Stores `request` about `event`.
pub(super) async fn join(
    store: &Store,
    request: &FeedbackRequest,
    event: &SuggestionEvent,
    given: Given,
) -> Result<Outcome, FeedbackError> {
    if event.txn_id != request.txn_id {
        return Err(FeedbackError::OtherTransaction(request.txn_id));
    }
    if request.bucket.as_ref().is_some_and(|bucket| *bucket != event.bucket) {
        return Err(FeedbackError::OtherUser);
    }
    known_label(store, request)?;
    let before = store.feedback(&key(request)).await?;
    let last = before.as_ref().map_or(i64::MIN, |before| before.changed_at);
    let (now, is_last) = match given {
        Given::Now(now) => (now.max(last), true),
        Given::Earlier(then) => (then, then >= last),
    };
    let row = row(request, Some(event), now);
    let outcome = |recorded, labelled| Outcome {
        recorded,
        waiting: false,
        arm: Some(row.arm.clone()),
        model_version: Some(row.model_version.clone()).filter(|version| !version.is_empty()),
        labelled,
    };
    match &before {
        Some(before) if !is_last || (before.action == row.action && before.label == row.label) => {
            return Ok(outcome(Recorded::Again, false));
        }
        Some(before) if before.changes >= MOST_CHANGES => {
            return Err(FeedbackError::TooMany("this suggestion's feedback was changed 20 times"));
        }
        Some(_) => {}
        None if event.bucket.is_empty() => {}
        None => {
            if store.feedback_of_user(&event.bucket, now - DAY, MOST_A_DAY).await? >= i64::from(MOST_A_DAY) {
                return Err(FeedbackError::TooMany("feedback on 1000 suggestions came from this user within a day"));
            }
        }
    }
    let labelled = !event.bucket.is_empty() && update_label(store, request, event, before.as_ref(), now).await?;
    Ok(outcome(store.record_feedback(&row).await?, labelled))
}

async fn let_wait(
    store: &Store,
    request: &FeedbackRequest,
    event_id: &str,
    now: i64,
) -> Result<Outcome, FeedbackError> {
    let waiting = WaitingFeedback {
        event_id: event_id.to_owned(),
        txn_id: request.txn_id,
        action: request.action.as_str().to_owned(),
        label: request.label.clone(),
        confidence: request.confidence,
        reason: request.reason.clone(),
        bucket: request.bucket.clone().unwrap_or_default(),
        received_at: now,
    };
    let recorded = match store.let_wait(&waiting, MOST_WAITING).await? {
        Waits::New => Recorded::New,
        Waits::Again => Recorded::Again,
        Waits::Full => return Err(FeedbackError::NoRoom),
    };
    Ok(Outcome { recorded, waiting: true, arm: None, model_version: None, labelled: false })
}

fn known_label(store: &Store, request: &FeedbackRequest) -> Result<(), FeedbackError> {
    if request.label == UNKNOWN_LABEL || store.labels().contains(&request.label.as_str()) {
        return Ok(());
    }
    Err(FeedbackError::UnknownLabel { label: request.label.clone(), known: store.labels().join(", ") })
}

fn key(request: &FeedbackRequest) -> String {
    match &request.event_id {
        Some(event_id) => format!("event:{event_id}"),
        None => format!("txn:{}", request.txn_id),
    }
}

fn row(request: &FeedbackRequest, event: Option<&SuggestionEvent>, now: i64) -> FeedbackRow {
    FeedbackRow {
        key: key(request),
        event_id: request.event_id.clone(),
        txn_id: request.txn_id,
        action: request.action.as_str().to_owned(),
        label: request.label.clone(),
        arm: event.map(|event| event.arm.clone()).unwrap_or_default(),
        model_version: event.map(|event| event.model_version.clone()).unwrap_or_default(),
        confidence: request.confidence,
        reason: request.reason.clone(),
        bucket: event.map(|event| event.bucket.clone()).unwrap_or_default(),
        received_at: now,
    }
}

/// Updates the label of the transaction; returns `true` if the feedback gives one.
async fn update_label(
    store: &Store,
    request: &FeedbackRequest,
    event: &SuggestionEvent,
    before: Option<&StoredFeedback>,
    now: i64,
) -> Result<bool, FeedbackError> {
    let given = request.label != UNKNOWN_LABEL && (request.action == Action::Accept || event.label != request.label);
    let current = store.current_label(request.txn_id, LabelSource::Feedback).await?;
    // The new label; empty if the earlier one is withdrawn. `None` changes nothing.
    let label = if given {
        Some(request.label.as_str()).filter(|label| current.label.as_deref() != Some(label))
    } else {
        let of_this_event = before.map(|before| before.label.as_str());
        let withdrawn =
            current.label.as_deref().filter(|label| *label == request.label || of_this_event == Some(label));
        withdrawn.map(|_| "")
    };
    if let Some(label) = label {
        if current.rows >= CurrentLabel::MOST {
            return Err(FeedbackError::TooMany("this transaction's label was changed 100 times"));
        }
        let label = NewLabel {
            txn_id: request.txn_id,
            source: LabelSource::Feedback,
            label: label.to_owned(),
            // A clock that was set back must not put the new label before the current one.
            labelled_at: now.max(current.since),
        };
        store.put_labels(&[label]).await?;
    }
    Ok(given)
}
