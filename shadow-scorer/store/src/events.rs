//! The table `suggestion_events`.

use std::borrow::Borrow;

use sqlx::{AssertSqlSafe, Row};

use super::pending::{PendingEvents, SuggestionEvent};
use super::{Store, StoreError};

/// Events stored in one statement.
const MOST_ROWS: usize = 500;
/// Events forgotten in one statement.
const MOST_FORGOTTEN: usize = 2_000;

impl Store {
    /// Stores events; one that is there already is left as it is.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn add_events(&self, events: &[impl Borrow<SuggestionEvent>]) -> Result<(), StoreError> {
        for chunk in events.chunks(MOST_ROWS) {
            let statement = format!(
                "INSERT INTO suggestion_events (event_id, txn_id, arm, model_version, label, confidence, bucket, \
                 cohort, created_at) VALUES {} ON CONFLICT (event_id) DO NOTHING",
                self.marks().rows(chunk.len(), 9)
            );
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for event in chunk {
                let event: &SuggestionEvent = event.borrow();
                query = query
                    .bind(event.event_id.as_str())
                    .bind(event.txn_id)
                    .bind(event.arm.as_str())
                    .bind(event.model_version.as_str())
                    .bind(event.label.as_str())
                    .bind(event.confidence)
                    .bind(event.bucket.as_str())
                    .bind(event.cohort.as_str())
                    .bind(event.created_at);
            }
            self.within(query.execute(&self.pool)).await?;
        }
        Ok(())
    }

    /// The events that are on their way to this store.
    #[must_use]
    pub fn pending_events(&self) -> &PendingEvents {
        &self.pending
    }

    /// The event of `event_id`, if it was stored or is on its way; then it is stored first, so that what refers to it
    /// is never without it.
    ///
    /// # Errors
    /// When the store does not respond in time.
    pub async fn event(&self, event_id: &str) -> Result<Option<SuggestionEvent>, StoreError> {
        if let Some(event) = self.pending.get(event_id) {
            self.add_events(std::slice::from_ref(&event)).await?;
            return Ok(Some(event));
        }
        let query = sqlx::query(
            "SELECT event_id, txn_id, arm, model_version, label, confidence, bucket, cohort, created_at \
             FROM suggestion_events WHERE event_id = $1",
        )
        .bind(event_id);
        let Some(row) = self.within(query.fetch_optional(&self.pool)).await? else { return Ok(None) };
        let read = || {
            Ok(SuggestionEvent {
                event_id: row.try_get(0)?,
                txn_id: row.try_get(1)?,
                arm: row.try_get(2)?,
                model_version: row.try_get(3)?,
                label: row.try_get(4)?,
                confidence: row.try_get(5)?,
                bucket: row.try_get(6)?,
                cohort: row.try_get(7)?,
                created_at: row.try_get(8)?,
            })
        };
        read().map(Some).map_err(|cause| self.failed(cause))
    }

    /// Forgets events older than `before` (seconds since 1970), so that the table has a bound: the oldest ones, a
    /// limited number at a time, so that no writer waits for long. How many; 0 when none are left. Feedback keeps what
    /// it joined.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn forget_events(&self, before: i64) -> Result<u64, StoreError> {
        let statement = format!(
            "DELETE FROM suggestion_events WHERE event_id IN (SELECT event_id FROM suggestion_events \
             WHERE created_at < $1 ORDER BY created_at LIMIT {MOST_FORGOTTEN})"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(before);
        Ok(self.within(query.execute(&self.pool)).await?.rows_affected())
    }
}
