//! What users said to suggestions: table `feedback`.

use contract::evidence::{Clusters, Feedback};
use contract::names::Arm;
use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};

/// A user's latest feedback on one suggestion, with the arm and version that were served.
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
    /// `baseline`, `candidate`, or empty where no event was named.
    pub arm: String,
    /// The version that was served, empty for the baseline or where no event was named.
    pub model_version: String,
    /// As the client saw it.
    pub confidence: Option<f64>,
    /// The user's words, cut to a bound.
    pub reason: String,
    /// The user's pseudonym, empty if not known.
    pub bucket: String,
    /// When it was said, seconds since 1970.
    pub received_at: i64,
}

/// The stored feedback on one suggestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFeedback {
    /// `accept` or `reject`.
    pub action: String,
    /// The label that was accepted or rejected.
    pub label: String,
    /// When it was said, seconds since 1970.
    pub changed_at: i64,
    /// How often it was said differently than before.
    pub changes: i64,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The first of its key.
    New,
    /// The user said something else before; the latest feedback counts.
    Changed,
    /// There already, or older than what is there; nothing changed.
    Again,
}

/// Rows forgotten in one statement.
const MOST_FORGOTTEN: usize = 2_000;

impl Store {
    /// What is stored under `key`.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn feedback(&self, key: &str) -> Result<Option<StoredFeedback>, StoreError> {
        let query =
            sqlx::query("SELECT action, label, changed_at, changes FROM feedback WHERE feedback_key = $1").bind(key);
        let Some(row) = self.within(query.fetch_optional(&self.pool)).await? else { return Ok(None) };
        let read = || {
            Ok(StoredFeedback {
                action: row.try_get(0)?,
                label: row.try_get(1)?,
                changed_at: row.try_get(2)?,
                changes: row.try_get(3)?,
            })
        };
        read().map(Some).map_err(|cause| self.failed(cause))
    }

    /// Stores what a user says, in the place of what the same key said before, unless that is newer. When it was said
    /// first stays, so that a changed mind does not move feedback from one span of time to another.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn record_feedback(&self, row: &FeedbackRow) -> Result<Recorded, StoreError> {
        let query = sqlx::query(
            "INSERT INTO feedback (feedback_key, event_id, txn_id, action, label, arm, model_version, confidence, \
             reason, bucket, received_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) \
             ON CONFLICT (feedback_key) DO NOTHING",
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
        .bind(row.bucket.as_str())
        .bind(row.received_at);
        if self.within(query.execute(&self.pool)).await?.rows_affected() > 0 {
            return Ok(Recorded::New);
        }
        let query = sqlx::query(
            "UPDATE feedback SET action = $2, label = $3, confidence = $4, reason = $5, changed_at = $6, \
             changes = changes + 1 WHERE feedback_key = $1 AND changed_at <= $6 AND (action <> $2 OR label <> $3)",
        )
        .bind(row.key.as_str())
        .bind(row.action.as_str())
        .bind(row.label.as_str())
        .bind(row.confidence)
        .bind(row.reason.as_str())
        .bind(row.received_at);
        let changed = self.within(query.execute(&self.pool)).await?.rows_affected() > 0;
        Ok(if changed { Recorded::Changed } else { Recorded::Again })
    }

    /// Suggestions on which the user of a pseudonym gave feedback at or after `since` (seconds since 1970), counted up
    /// to `most`.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn feedback_of_user(&self, bucket: &str, since: i64, most: u32) -> Result<i64, StoreError> {
        let query = sqlx::query_as(
            "SELECT COUNT(*) FROM (SELECT 1 AS one FROM feedback WHERE bucket = $1 AND received_at >= $2 LIMIT $3) AS rows",
        );
        let query = query.bind(bucket).bind(since).bind(i64::from(most));
        let (count,) = self.within(query.fetch_one(&self.pool)).await?;
        Ok(count)
    }

    /// Forgets feedback that was last said before `before` (seconds since 1970), so that the table has a bound: a
    /// limited number at a time, so that no writer waits for long. How many; 0 when none are left. The labels that
    /// followed stay.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn forget_feedback(&self, before: i64) -> Result<u64, StoreError> {
        let statement = format!(
            "DELETE FROM feedback WHERE feedback_key IN (SELECT feedback_key FROM feedback \
             WHERE received_at < $1 AND changed_at < $1 ORDER BY received_at LIMIT {MOST_FORGOTTEN})"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(before);
        Ok(self.within(query.execute(&self.pool)).await?.rows_affected())
    }

    /// What users said to answers served at or after `since` (seconds since 1970), by the arm that gave the answer, as
    /// sums over users. Answers to nobody known (no pseudonym) are left out, and so is feedback without an event.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn feedback_by_arm(&self, since: i64) -> Result<Feedback, StoreError> {
        // Summed by the store, so that what comes is two rows whatever the number of users. The casts are for
        // PostgreSQL, whose SUM is of a type that the driver for both does not read.
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
            let (arm, clusters) = read().map_err(|cause| self.failed(cause))?;
            *(if arm == Arm::Candidate.as_str() { &mut feedback.model } else { &mut feedback.rule }) = clusters;
        }
        Ok(feedback)
    }
}
