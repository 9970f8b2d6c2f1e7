//! Whole users at once, for training: every labelled transaction with the history it had then.

use sqlx::Row;

use super::transactions::{COLUMNS, read};
use super::{LabelSource, Store, StoreError};
use crate::features::history::Past;
use crate::features::{History, Transaction};

/// One labelled transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRow {
    /// Its id.
    pub id: i64,
    /// Seconds since 1970.
    pub occurred_at: i64,
    /// The transaction.
    pub transaction: Transaction,
    /// What its user did before.
    pub history: History,
    /// What it truly is, as known today.
    pub label: String,
}

/// Reads user by user. Nothing but one user's transactions is held at a time.
#[derive(Debug)]
pub struct UserRows<'a> {
    store: &'a Store,
    users: std::vec::IntoIter<String>,
}

struct PastLabel {
    label: String,
    labelled_at: i64,
    source: String,
}

struct Known {
    id: i64,
    occurred_at: i64,
    transaction: Transaction,
    labels: Vec<PastLabel>,
}

impl Store {
    /// Begins reading; users come in a fixed order.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn users(&self) -> Result<UserRows<'_>, StoreError> {
        let query = sqlx::query_as("SELECT DISTINCT user_id FROM transactions ORDER BY user_id");
        let users: Vec<(String,)> = self.within(query.fetch_all(&self.pool)).await?;
        let users: Vec<String> = users.into_iter().map(|(user,)| user).collect();
        Ok(UserRows { store: self, users: users.into_iter() })
    }
}

impl UserRows<'_> {
    /// Users left to read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.users.len()
    }

    /// The next user's labelled transactions in order of time; `None` after the last user.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn next_user(&mut self) -> Result<Option<Vec<LabelledRow>>, StoreError> {
        let Some(user) = self.users.next() else { return Ok(None) };
        Ok(Some(with_histories(&self.store.known(&user).await?)))
    }
}

impl Store {
    async fn known(&self, user: &str) -> Result<Vec<Known>, StoreError> {
        let statement = format!(
            "SELECT {COLUMNS}, l.label, l.labelled_at, l.source FROM transactions t \
             LEFT JOIN transaction_labels l ON l.txn_id = t.id WHERE t.user_id = $1 ORDER BY t.occurred_at, t.id"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(user);
        let rows = self.within(query.fetch_all(&self.pool)).await?;
        let mut known: Vec<Known> = Vec::with_capacity(rows.len());
        for row in &rows {
            let read_row = || {
                let (id, occurred_at, transaction) = read(row)?;
                let label = match row.try_get::<Option<String>, _>(9)? {
                    Some(label) => Some(PastLabel { label, labelled_at: row.try_get(10)?, source: row.try_get(11)? }),
                    None => None,
                };
                Ok((Known { id, occurred_at, transaction, labels: Vec::new() }, label))
            };
            let (next, label) = read_row().map_err(|source| super::error::of(&self.place, source))?;
            if known.last().is_none_or(|last| last.id != next.id) {
                known.push(next);
            }
            if let Some(last) = known.last_mut() {
                last.labels.extend(label);
            }
        }
        Ok(known)
    }
}

/// The same histories as [`Store::transactions`] finds, from one user's transactions in order of time.
fn with_histories(known: &[Known]) -> Vec<LabelledRow> {
    known
        .iter()
        .enumerate()
        .filter_map(|(at, this)| {
            let label = newest(&this.labels, i64::MAX)?;
            let earlier = known.get(..at).unwrap_or_default();
            let past = earlier.iter().rev().filter(|past| past.occurred_at < this.occurred_at).filter_map(|past| {
                let label = newest(&past.labels, this.occurred_at)?;
                Some(Past { merchant: &past.transaction.merchant, label })
            });
            Some(LabelledRow {
                id: this.id,
                occurred_at: this.occurred_at,
                history: History::of(&this.transaction.merchant, past),
                transaction: this.transaction.clone(),
                label: label.to_owned(),
            })
        })
        .collect()
}

/// The newest label known at `at`; [`LabelSource`]s win a draw in the order of their names.
fn newest(labels: &[PastLabel], at: i64) -> Option<&str> {
    debug_assert!(LabelSource::Feedback.as_str() < LabelSource::User.as_str());
    labels
        .iter()
        .filter(|label| label.labelled_at <= at)
        .max_by(|a, b| a.labelled_at.cmp(&b.labelled_at).then_with(|| b.source.cmp(&a.source)))
        .map(|label| label.label.as_str())
}
