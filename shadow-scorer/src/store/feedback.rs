//! What users said to suggestions: table `feedback`.

use super::{Store, StoreError};

/// One answer of a user, with the arm and version that were served.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedbackRow {
    /// Makes it count once: the event's id where there is one.
    pub key: String,
    /// The event, if the client named one.
    pub event_id: Option<String>,
    /// Of which transaction.
    pub txn_id: i64,
    /// `accept` or `reject`.
    pub action: String,
    /// The label that was accepted or rejected.
    pub label: String,
    /// `rule`, `model`, or empty where no event was found.
    pub arm: String,
    /// The version that was served, empty for rules or where no event was found.
    pub model_version: String,
    /// As the client saw it.
    pub confidence: Option<f64>,
    /// The user's words, cut to a bound.
    pub reason: String,
    /// Seconds since 1970.
    pub received_at: i64,
}

/// Was it the first?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Stored now.
    New,
    /// There already; nothing changed.
    Again,
}

impl Store {
    /// Stores an answer, once per [`FeedbackRow::key`].
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn record_feedback(&self, row: &FeedbackRow) -> Result<Recorded, StoreError> {
        let query = sqlx::query(
            "INSERT INTO feedback (feedback_key, event_id, txn_id, action, label, arm, model_version, confidence, \
             reason, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (feedback_key) DO NOTHING",
        )
        .bind(row.key.as_str())
        .bind(row.event_id.as_deref())
        .bind(row.txn_id)
        .bind(row.action.as_str())
        .bind(row.label.as_str())
        .bind(row.arm.as_str())
        .bind(row.model_version.as_str())
        .bind(row.confidence)
        .bind(row.reason.as_str())
        .bind(row.received_at);
        let done = self.within(query.execute(&self.pool)).await?;
        Ok(if done.rows_affected() > 0 { Recorded::New } else { Recorded::Again })
    }
}
