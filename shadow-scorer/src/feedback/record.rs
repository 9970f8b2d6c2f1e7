//! A user's answer, joined and turned into a label.
//!
//! **Join.** Arm and version come from the stored event of `event_id`. Events are stored in the background, so one that
//! is not there yet is looked for again for a moment; feedback without an event that can be found is stored all the
//! same, with an empty arm, and counts for no side. An event of another transaction is refused.
//!
//! **Once.** The key is the event's id; without one, transaction, action and label. Repeating an answer changes nothing. What
//! makes it count is stored last, so that an answer that was cut off in between is taken whole when it is repeated.
//!
//! **Labels.** An accept says what the transaction is: its label is stored (source `feedback`). A reject of what was
//! suggested says only what it is not: no label follows, and one that earlier feedback gave is taken back if it is the
//! rejected one. A reject that names another label than the suggested one is a correction: that label is stored.
//! `unknown` is never a label.

use std::time::Duration;

use contract::names::UNKNOWN_LABEL;

use super::{Action, FeedbackRequest};
use crate::store::{FeedbackRow, LabelSource, NewLabel, Recorded, Store, StoreError, SuggestionEvent};

/// How often, and after what pause, an event is looked for that is not there yet.
const LOOKS: usize = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// New, or a repetition.
    pub recorded: Recorded,
    /// The arm that was served, `rule` or `model`; `None` if no event was found.
    pub arm: Option<String>,
    /// The version that was served, for the arm `model`.
    pub model_version: Option<String>,
    /// Did a label follow?
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
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores `request`, received at `now` (seconds since 1970).
///
/// # Errors
/// See [`FeedbackError`]; nothing is stored then.
pub async fn record(store: &Store, request: &FeedbackRequest, now: i64) -> Result<Outcome, FeedbackError> {
    if store.transactions(&[request.txn_id]).await?.is_empty() {
        return Err(FeedbackError::NoTransaction(request.txn_id));
    }
    let event = match &request.event_id {
        Some(event_id) => find(store, event_id).await?,
        None => None,
    };
    if event.as_ref().is_some_and(|event| event.txn_id != request.txn_id) {
        return Err(FeedbackError::OtherTransaction(request.txn_id));
    }
    let key = key(request);
    let known = store.has_feedback(&key).await?;
    let labelled = !known && follow(store, request, event.as_ref(), now).await?;
    let arm = event.as_ref().map(|event| event.arm.clone());
    let model_version = event.as_ref().map(|event| event.model_version.clone()).filter(|version| !version.is_empty());
    let row = FeedbackRow {
        key,
        event_id: request.event_id.clone(),
        txn_id: request.txn_id,
        action: request.action.as_str().to_owned(),
        label: request.label.clone(),
        arm: arm.clone().unwrap_or_default(),
        model_version: model_version.clone().unwrap_or_default(),
        confidence: request.confidence,
        reason: request.reason.clone(),
        received_at: now,
    };
    let recorded = if known { Recorded::Again } else { store.record_feedback(&row).await? };
    Ok(Outcome { recorded, arm, model_version, labelled })
}

async fn find(store: &Store, event_id: &str) -> Result<Option<SuggestionEvent>, StoreError> {
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(event) = store.event(event_id).await? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

fn key(request: &FeedbackRequest) -> String {
    match &request.event_id {
        Some(event_id) => format!("event:{event_id}"),
        None => format!("txn:{}:{}:{}", request.txn_id, request.action.as_str(), request.label),
    }
}

/// The label that follows, if one does.
async fn follow(
    store: &Store,
    request: &FeedbackRequest,
    event: Option<&SuggestionEvent>,
    now: i64,
) -> Result<bool, StoreError> {
    let correction = event.is_some_and(|event| event.label != request.label);
    match request.action {
        _ if request.label == UNKNOWN_LABEL => Ok(false),
        Action::Reject if !correction => {
            store.take_back_label(request.txn_id, LabelSource::Feedback, &request.label).await?;
            Ok(false)
        }
        Action::Accept | Action::Reject => {
            let label = NewLabel {
                txn_id: request.txn_id,
                source: LabelSource::Feedback,
                label: request.label.clone(),
                labelled_at: now,
            };
            store.put_labels(&[label]).await?;
            Ok(true)
        }
    }
}
