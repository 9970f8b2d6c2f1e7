//! What transactions truly are: table `transaction_labels`, a log.
//!
//! Nothing in it is changed: a correction is another row, and a label taken back is a row with an empty label, so that
//! what was known at any time can be told at any later time. Of each source the newest row counts, and of those the
//! newest. Two rows of one source in one second are one, the later one.

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

/// What a source says of a transaction now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentLabel {
    /// The label; `None` before the first, and after one was taken back.
    pub label: Option<String>,
    /// Since when, seconds since 1970; 0 before the first.
    pub since: i64,
    /// Rows of the log, of this transaction and source; counted up to [`CurrentLabel::MOST`].
    pub rows: usize,
}

impl CurrentLabel {
    /// Rows of one transaction and source, at most; whoever writes the log for a client keeps to it.
    pub const MOST: usize = 100;
}

const MOST_ROWS: usize = 500;

/// Of the log `l`: newer rows of the same transaction and source are none.
const NEWEST: &str = "NOT EXISTS (SELECT 1 FROM transaction_labels o WHERE o.txn_id = l.txn_id AND o.source = l.source \
     AND o.labelled_at > l.labelled_at)";

impl Store {
    /// Adds labels to the log; an empty label takes the source's word back. A transaction may stand only once in `new`.
    ///
    /// # Errors
    /// When the store does not take them, e.g. because a transaction is not there.
    pub async fn put_labels(&self, new: &[NewLabel]) -> Result<(), StoreError> {
        for chunk in new.chunks(MOST_ROWS) {
            let statement = format!(
                "INSERT INTO transaction_labels (txn_id, source, label, labelled_at) VALUES {} \
                 ON CONFLICT (txn_id, source, labelled_at) DO UPDATE SET label = excluded.label",
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

    /// What `source` says of a transaction now.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn current_label(&self, txn_id: i64, source: LabelSource) -> Result<CurrentLabel, StoreError> {
        let query = sqlx::query(
            "SELECT label, labelled_at FROM transaction_labels WHERE txn_id = $1 AND source = $2 \
             ORDER BY labelled_at DESC LIMIT $3",
        )
        .bind(txn_id)
        .bind(source.as_str())
        .bind(i64::try_from(CurrentLabel::MOST).unwrap_or(i64::MAX));
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        let Some(newest) = rows.first() else { return Ok(CurrentLabel::default()) };
        let read = || {
            let label: String = newest.try_get(0)?;
            let label = Some(label).filter(|label| !label.is_empty());
            Ok(CurrentLabel { label, since: newest.try_get(1)?, rows: rows.len() })
        };
        read().map_err(|cause| self.failed(cause))
    }

    /// How many transactions have a label.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn count_labels(&self) -> Result<i64, StoreError> {
        let statement =
            format!("SELECT COUNT(DISTINCT l.txn_id) FROM transaction_labels l WHERE l.label <> '' AND {NEWEST}");
        let query = sqlx::query_as(AssertSqlSafe(statement));
        let (count,) = self.within(query.fetch_one(&self.pool)).await?;
        Ok(count)
    }

    /// The newest labels that `source` gave, and stands by, at or after `since` (seconds since 1970), the newest first, at most `limit`:
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
        let statement = format!(
            "SELECT l.txn_id, l.label FROM transaction_labels l WHERE l.source = $1 AND l.labelled_at >= $2 \
             AND l.label <> '' AND {NEWEST} ORDER BY l.labelled_at DESC, l.txn_id DESC LIMIT $3"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(source.as_str()).bind(since).bind(i64::from(limit));
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|cause| self.failed(cause))
    }
}
