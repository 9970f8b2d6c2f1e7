//! What users said to suggestions: table `feedback`.

use contract::evidence::{Clusters, Feedback};
use contract::names::Arm;
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

    /// What users said to answers served at or after `since` (seconds since 1970), by the arm that gave the answer, as sums
    /// over users. Answers to nobody known (no pseudonym) are left out, and so is feedback without an event.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn feedback_by_arm(&self, since: i64) -> Result<Feedback, StoreError> {
        // Summed by the store, so that what comes is two rows whatever the number of users. The casts are for PostgreSQL,
        // whose SUM is of a type that the driver for both does not read.
        let query = sqlx::query(
            "SELECT u.arm, COUNT(*), CAST(SUM(u.k) AS BIGINT), CAST(SUM(u.a) AS BIGINT), CAST(SUM(u.k * u.k) AS BIGINT), \
             CAST(SUM(u.a * u.a) AS BIGINT), CAST(SUM(u.k * u.a) AS BIGINT) \
             FROM (SELECT e.arm AS arm, COUNT(*) AS k, COUNT(CASE WHEN f.action = 'accept' THEN 1 END) AS a \
                   FROM feedback f JOIN suggestion_events e ON e.event_id = f.event_id \
                   WHERE f.received_at >= $1 AND e.created_at >= $1 AND e.bucket <> '' \
                   GROUP BY e.arm, e.bucket) u GROUP BY u.arm",
        )
        .bind(since);
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        let mut feedback = Feedback::default();
        for row in &rows {
            let count = |place| row.try_get::<i64, _>(place).map(|n| u64::try_from(n).unwrap_or(0));
            let read = || {
                let arm: String = row.try_get(0)?;
                let clusters = Clusters {
                    users: count(1)?,
                    given: count(2)?,
                    accepted: count(3)?,
                    given_squared: count(4)?,
                    accepted_squared: count(5)?,
                    given_accepted: count(6)?,
                };
                Ok((arm, clusters))
            };
            let (arm, clusters) = read().map_err(|source| super::error::of(&self.place, source))?;
            *(if arm == Arm::Candidate.as_str() { &mut feedback.model } else { &mut feedback.rule }) = clusters;
        }
        Ok(feedback)
    }
}
