//! What users said to suggestions: table `feedback`.

use sqlx::Row;

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

/// What one user said to the answers of one arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFeedback {
    /// `rule` or `model`: who gave the answers.
    pub arm: String,
    /// How often the user said something.
    pub given: u64,
    /// How often it was an accept; at most `given`.
    pub accepted: u64,
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
    /// Is the answer of `key` stored?
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn has_feedback(&self, key: &str) -> Result<bool, StoreError> {
        let query = sqlx::query("SELECT 1 FROM feedback WHERE feedback_key = $1").bind(key);
        Ok(self.within(query.fetch_optional(&self.pool)).await?.is_some())
    }

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

    /// What each user said to answers served at or after `since` (seconds since 1970), by the arm that gave the answer.
    /// Answers to nobody known (no pseudonym) are left out, and so is feedback without an event.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn feedback_by_user(&self, since: i64) -> Result<Vec<UserFeedback>, StoreError> {
        // COUNT rather than SUM: PostgreSQL's SUM is of a type that the driver for both does not read.
        let query = sqlx::query(
            "SELECT e.arm, COUNT(*), COUNT(CASE WHEN f.action = 'accept' THEN 1 END) \
             FROM feedback f JOIN suggestion_events e ON e.event_id = f.event_id \
             WHERE f.received_at >= $1 AND e.created_at >= $1 AND e.bucket <> '' GROUP BY e.arm, e.bucket",
        )
        .bind(since);
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        let count =
            |row: &sqlx::any::AnyRow, place| row.try_get::<i64, _>(place).map(|n| u64::try_from(n).unwrap_or(0));
        rows.iter()
            .map(|row| Ok(UserFeedback { arm: row.try_get(0)?, given: count(row, 1)?, accepted: count(row, 2)? }))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|source| super::error::of(&self.place, source))
    }
}
