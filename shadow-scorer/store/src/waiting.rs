//! Feedback on events that are not stored yet: table `feedback_waiting`.
//!
//! Events are stored in the background, maybe by another scorer, so feedback may come first. It is taken at once and
//! joined when its event is there. Ids that nobody was given end here too, so the table has a bound that holds at any
//! rate, and what is never joined is forgotten.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Store, StoreError};

/// Feedback on an event that is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingFeedback {
    /// The event.
    pub event_id: String,
    /// Of which transaction.
    pub txn_id: i64,
    /// `accept` or `reject`.
    pub action: String,
    /// The label that was accepted or rejected.
    pub label: String,
    /// As the client saw it.
    pub confidence: Option<f64>,
    /// The user's words, cut to a bound.
    pub reason: String,
    /// The pseudonym that the gateway gave, empty if it gave none.
    pub bucket: String,
    /// When it was said, seconds since 1970.
    pub received_at: i64,
}

/// What became of feedback that should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It waits.
    New,
    /// Feedback on this event waits already; the latest took its place.
    Again,
    /// Too much waits already.
    Full,
}

const COLUMNS: &str = "w.event_id, w.txn_id, w.action, w.label, w.confidence, w.reason, w.bucket, w.received_at";

impl Store {
    /// Lets feedback wait, unless `most` wait already.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn let_wait(&self, feedback: &WaitingFeedback, most: u32) -> Result<Waits, StoreError> {
        let query = sqlx::query(
            "INSERT INTO feedback_waiting (event_id, txn_id, action, label, confidence, reason, bucket, received_at) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE (SELECT COUNT(*) FROM feedback_waiting) < $9 \
             ON CONFLICT (event_id) DO NOTHING",
        )
        .bind(feedback.event_id.as_str())
        .bind(feedback.txn_id)
        .bind(feedback.action.as_str())
        .bind(feedback.label.as_str())
        .bind(feedback.confidence)
        .bind(feedback.reason.as_str())
        .bind(feedback.bucket.as_str())
        .bind(feedback.received_at)
        .bind(i64::from(most));
        if self.within(query.execute(&self.pool)).await?.rows_affected() > 0 {
            return Ok(Waits::New);
        }
        let query = sqlx::query(
            "UPDATE feedback_waiting SET txn_id = $2, action = $3, label = $4, confidence = $5, reason = $6, bucket = $7, \
             received_at = $8 WHERE event_id = $1 AND received_at <= $8",
        )
        .bind(feedback.event_id.as_str())
        .bind(feedback.txn_id)
        .bind(feedback.action.as_str())
        .bind(feedback.label.as_str())
        .bind(feedback.confidence)
        .bind(feedback.reason.as_str())
        .bind(feedback.bucket.as_str())
        .bind(feedback.received_at);
        let changed = self.within(query.execute(&self.pool)).await?.rows_affected() > 0;
        Ok(if changed { Waits::Again } else { Waits::Full })
    }

    /// Waiting feedback whose event is stored by now, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the store does not respond in time.
    pub async fn joinable(&self, most: u32) -> Result<Vec<WaitingFeedback>, StoreError> {
        let statement = format!(
            "SELECT {COLUMNS} FROM feedback_waiting w JOIN suggestion_events e ON e.event_id = w.event_id \
             ORDER BY w.received_at LIMIT $1"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(i64::from(most));
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }

    /// Takes away feedback that was joined, unless the user said something newer meanwhile.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn joined(&self, feedback: &WaitingFeedback) -> Result<(), StoreError> {
        let query = sqlx::query(
            "DELETE FROM feedback_waiting WHERE event_id = $1 AND received_at <= $2 AND action = $3 AND label = $4",
        )
        .bind(feedback.event_id.as_str())
        .bind(feedback.received_at)
        .bind(feedback.action.as_str())
        .bind(feedback.label.as_str());
        self.within(query.execute(&self.pool)).await.map(drop)
    }

    /// How many wait.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn count_waiting(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_as("SELECT COUNT(*) FROM feedback_waiting");
        let (count,) = self.within(query.fetch_one(&self.pool)).await?;
        Ok(count)
    }

    /// Forgets feedback that has waited since before `before` (seconds since 1970); how much.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn forget_waiting(&self, before: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM feedback_waiting WHERE received_at < $1").bind(before);
        Ok(self.within(query.execute(&self.pool)).await?.rows_affected())
    }
}

fn read(row: &AnyRow) -> Result<WaitingFeedback, sqlx::Error> {
    Ok(WaitingFeedback {
        event_id: row.try_get(0)?,
        txn_id: row.try_get(1)?,
        action: row.try_get(2)?,
        label: row.try_get(3)?,
        confidence: row.try_get(4)?,
        reason: row.try_get(5)?,
        bucket: row.try_get(6)?,
        received_at: row.try_get(7)?,
    })
}
