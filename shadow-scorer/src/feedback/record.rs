//! A user's answer, joined and turned into a label.
//!
//! **Join.** Arm, version and user come from the event of `event_id`, never from the client. Feedback on an event that
//! is not known yet is taken at once, waits, and is joined later ([`super::joining`]). An event of another transaction
//! is refused, and so is one of another user, where the gateway says who sends the feedback. An event id is a random
//! number that only who was served has seen; feedback without one is stored, one a transaction, and counts for nothing.
//!
//! **Last word.** There is one row an event, and what the user said last is what it says: accept rates count each event
//! once, by the last word. (The counter of predictions counts the first: a counter cannot take anything back.)
//! Repeating an answer changes nothing. What makes it count is stored last, so that an answer that was cut off in
//! between is taken whole when it is repeated.
//!
//! **Labels.** An accept says what the transaction is: its label is stored (source `feedback`). A reject of what was
//! suggested says only what it is not: no label follows, and one that earlier feedback gave is taken back if it is the
//! rejected one, or what the user said to this event before. A reject that names another label than the suggested one is
//! a correction: that label is stored. `unknown` is never a label, a label outside the closed set is refused, and from an
//! event of nobody known no label follows.
//!
//! **Bounds.** A user gives feedback on [`MOST_A_DAY`] suggestions a day, changes their mind about each
//! [`MOST_CHANGES`] times, and a transaction's label changes [`CurrentLabel::MOST`] times; [`MOST_WAITING`] wait for
//! their events.

use super::{Action, FeedbackRequest};
use crate::store::{
    CurrentLabel, FeedbackRow, LabelSource, NewLabel, Recorded, Store, StoreError, StoredFeedback, SuggestionEvent,
    WaitingFeedback, Waits,
};
use crate::suggestions::UNKNOWN_LABEL;

/// Suggestions on which a user may give feedback within a day: far more than a person looks at.
pub const MOST_A_DAY: u32 = 1_000;
/// Times that a user may change their mind about a suggestion.
pub const MOST_CHANGES: i64 = 20;
/// Feedback that waits for its events, at most.
pub const MOST_WAITING: u32 = 10_000;
const DAY: i64 = 86_400;

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// New, another word on the same event, or a repetition.
    pub recorded: Recorded,
    /// Returns `true` if it waits for its event.
    pub waiting: bool,
    /// The arm that was served, `baseline` or `candidate`; `None` if no event is known.
    pub arm: Option<String>,
    /// The version that was served, for the arm `candidate`.
    pub model_version: Option<String>,
    /// Returns `true` if a label followed.
    pub labelled: bool,
}

/// Feedback that was not taken.
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
    /// More than a person says.
    #[error("{0}: nothing more is taken")]
    TooMany(&'static str),
    /// Too much waits.
    #[error("{MOST_WAITING} answers wait for events that are not stored: try again in a second")]
    NoRoom,
    /// The store did not take it.
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
        Some(event) => join(store, request, &event, Said::Now(now)).await,
        None => {
            known_label(store, request)?;
            wait(store, request, event_id, now).await
        }
    }
}

/// When something was said, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said {
    /// Just now: it is the last word, also where a clock was set back, or another scorer's clock is ahead.
    Now(i64),
    /// Some time ago: the last word unless something was said since.
    Before(i64),
}

/// Stores `request` about `event`.
pub(super) async fn join(
    store: &Store,
    request: &FeedbackRequest,
    event: &SuggestionEvent,
    said: Said,
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
    let (now, is_last) = match said {
        Said::Now(now) => (now.max(last), true),
        Said::Before(then) => (then, then >= last),
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
        Some(said) if !is_last || (said.action == row.action && said.label == row.label) => {
            return Ok(outcome(Recorded::Again, false));
        }
        Some(said) if said.changes >= MOST_CHANGES => {
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
    let labelled = !event.bucket.is_empty() && follow(store, request, event, before.as_ref(), now).await?;
    Ok(outcome(store.record_feedback(&row).await?, labelled))
}

async fn wait(store: &Store, request: &FeedbackRequest, event_id: &str, now: i64) -> Result<Outcome, FeedbackError> {
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

/// Lets the label follow; `true` if one is given.
async fn follow(
    store: &Store,
    request: &FeedbackRequest,
    event: &SuggestionEvent,
    before: Option<&StoredFeedback>,
    now: i64,
) -> Result<bool, FeedbackError> {
    let given = request.label != UNKNOWN_LABEL && (request.action == Action::Accept || event.label != request.label);
    let current = store.current_label(request.txn_id, LabelSource::Feedback).await?;
    // What this word says: a label, or that an earlier one does not hold. `None` leaves the log as it is.
    let label = if given {
        Some(request.label.as_str()).filter(|label| current.label.as_deref() != Some(label))
    } else {
        let of_this_event = before.map(|said| said.label.as_str());
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
            // A clock that was set back must not make the last word an earlier one.
            labelled_at: now.max(current.since),
        };
        store.put_labels(&[label]).await?;
    }
    Ok(given)
}
