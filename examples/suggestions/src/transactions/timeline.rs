//! A user's transactions in order of time, each with the history it had then.
//!
//! Training reads every user this way, and serving the users of the transactions that it is asked about: one statement
//! brings all that is needed for every transaction of the user, and a caller that wants one soon wants another.

use scorer_store::{LabelSource, Store, StoreError};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::row::{COLUMNS, read_row};
use crate::features::history::Past;
use crate::features::text::Normalised;
use crate::features::{History, Transaction};

/// One user's transactions, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Timeline(Vec<Known>);

/// A transaction with the log of its labels.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) occurred_at: i64,
    pub(super) transaction: Transaction,
    merchant: Normalised,
    labels: Vec<PastLabel>,
}

#[derive(Debug)]
struct PastLabel {
    label: String,
    labelled_at: i64,
    source: String,
}

/// The timelines of `users`, in no particular order; users without transactions have none.
pub(super) async fn read(store: &Store, users: &[&str]) -> Result<Vec<Timeline>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS}, l.label, l.labelled_at, l.source, t.user_id FROM transactions t \
         LEFT JOIN transaction_labels l ON l.txn_id = t.id WHERE t.user_id IN ({}) \
         ORDER BY t.user_id, t.occurred_at, t.id",
        store.marks().list(users.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    for user in users {
        query = query.bind(*user);
    }
    let rows = store.within(query.fetch_all(store.pool())).await?;
    from_rows(&rows).map_err(|cause| store.failed(cause))
}

fn from_rows(rows: &[AnyRow]) -> Result<Vec<Timeline>, sqlx::Error> {
    let mut timelines: Vec<Timeline> = Vec::new();
    let mut user = None;
    for row in rows {
        let this: &str = row.try_get(12)?;
        if user != Some(this) {
            timelines.push(Timeline::default());
            user = Some(this);
        }
        if let Some(timeline) = timelines.last_mut() {
            timeline.take(row)?;
        }
    }
    Ok(timelines)
}

impl Timeline {
    /// Adds the next row; a transaction with two labels has two.
    fn take(&mut self, row: &AnyRow) -> Result<(), sqlx::Error> {
        let (id, occurred_at, transaction) = read_row(row)?;
        if self.0.last().is_none_or(|last| last.id != id) {
            let merchant = Normalised::merchant(&transaction.merchant);
            self.0.push(Known { id, occurred_at, transaction, merchant, labels: Vec::new() });
        }
        if let (Some(label), Some(last)) = (row.try_get(9)?, self.0.last_mut()) {
            last.labels.push(PastLabel { label, labelled_at: row.try_get(10)?, source: row.try_get(11)? });
        }
        Ok(())
    }

    /// Each transaction with the history it had then.
    pub(super) fn into_histories(self) -> impl Iterator<Item = (Known, History)> {
        let histories: Vec<History> = (0..self.0.len()).map(|at| self.history(at)).collect();
        self.0.into_iter().zip(histories)
    }

    fn history(&self, at: usize) -> History {
        let Some(this) = self.0.get(at) else { return History::default() };
        let earlier = self.0.get(..at).unwrap_or_default();
        let past = earlier.iter().rev().filter(|past| past.occurred_at < this.occurred_at).filter_map(|past| {
            let label = past.label_known_at(this.occurred_at)?;
            Some(Past { merchant: &past.merchant, label })
        });
        History::of(&this.merchant, past)
    }
}

impl Known {
    /// The newest label known at `at`, of those that each source stood by then; [`LabelSource`]s win a draw in the
    /// order of their names.
    pub(super) fn label_known_at(&self, at: i64) -> Option<&str> {
        debug_assert!(LabelSource::Feedback.as_str() < LabelSource::User.as_str());
        let known = || self.labels.iter().filter(|label| label.labelled_at <= at);
        let superseded = |label: &PastLabel| {
            known().any(|other| other.source == label.source && other.labelled_at > label.labelled_at)
        };
        known()
            .filter(|label| !label.label.is_empty() && !superseded(label))
            .max_by(|a, b| a.labelled_at.cmp(&b.labelled_at).then_with(|| b.source.cmp(&a.source)))
            .map(|label| label.label.as_str())
    }
}
