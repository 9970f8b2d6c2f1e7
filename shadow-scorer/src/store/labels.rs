//! What transactions truly are: table `transaction_labels`.

use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};

/// Who said so. Names sort in the order in which they win at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelSource {
    /// A user's answer to a suggestion.
    Feedback,
    /// The user, by themselves (or the demo's generator in their name).
    User,
}

impl LabelSource {
    /// As the table holds it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::User => "user",
        }
    }
}

/// A label to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLabel {
    /// Of which transaction.
    pub txn_id: i64,
    /// Who said so.
    pub source: LabelSource,
    /// What it is.
    pub label: String,
    /// Since when it is known, seconds since 1970.
    pub labelled_at: i64,
}

const MOST_ROWS: usize = 500;

impl Store {
    /// Stores labels; a later label of the same source takes the place of an earlier one. A transaction may stand only
    /// once in `new`.
    ///
    /// # Errors
    /// When the store does not take them, e.g. because a transaction is not there.
    pub async fn put_labels(&self, new: &[NewLabel]) -> Result<(), StoreError> {
        for chunk in new.chunks(MOST_ROWS) {
            let statement = format!(
                "INSERT INTO transaction_labels (txn_id, source, label, labelled_at) VALUES {} \
                 ON CONFLICT (txn_id, source) DO UPDATE SET label = excluded.label, labelled_at = excluded.labelled_at",
                self.marks().rows(chunk.len(), 4)
            );
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for label in chunk {
                query = query
                    .bind(label.txn_id)
                    .bind(label.source.as_str())
                    .bind(label.label.as_str())
                    .bind(label.labelled_at);
            }
            self.within(query.execute(&self.pool)).await?;
        }
        Ok(())
    }

    /// Takes back the label that `source` gave, if it is `label`.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn take_back_label(&self, txn_id: i64, source: LabelSource, label: &str) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM transaction_labels WHERE txn_id = $1 AND source = $2 AND label = $3")
            .bind(txn_id)
            .bind(source.as_str())
            .bind(label);
        self.within(query.execute(&self.pool)).await.map(|_| ())
    }

    /// How many transactions have a label.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn count_labels(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_as("SELECT COUNT(DISTINCT txn_id) FROM transaction_labels");
        let (count,) = self.within(query.fetch_one(&self.pool)).await?;
        Ok(count)
    }

    /// The newest labels that `source` gave at or after `since` (seconds since 1970), the newest first, at most `limit`:
    /// transaction and label.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn newest_labels(
        &self,
        source: LabelSource,
        since: i64,
        limit: u32,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let query = sqlx::query(
            "SELECT txn_id, label FROM transaction_labels WHERE source = $1 AND labelled_at >= $2 \
             ORDER BY labelled_at DESC, txn_id DESC LIMIT $3",
        )
        .bind(source.as_str())
        .bind(since)
        .bind(i64::from(limit));
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|source| super::error::of(&self.place, source))
    }
}
