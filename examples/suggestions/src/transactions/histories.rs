//! Whole users at once, for training: every labelled transaction with the history it had then.

use scorer_store::{Store, StoreError};

use super::timeline::{self, Timeline};
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

/// Begins reading; users come in a fixed order.
///
/// # Errors
/// When the store does not respond in time.
pub async fn users(store: &Store) -> Result<UserRows<'_>, StoreError> {
    let query = sqlx::query_as("SELECT DISTINCT user_id FROM transactions ORDER BY user_id");
    let users: Vec<(String,)> = store.within(query.fetch_all(store.pool())).await?;
    let users: Vec<String> = users.into_iter().map(|(user,)| user).collect();
    Ok(UserRows { store, users: users.into_iter() })
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
    /// When the store does not respond in time.
    pub async fn next_user(&mut self) -> Result<Option<Vec<LabelledRow>>, StoreError> {
        let Some(user) = self.users.next() else { return Ok(None) };
        let timelines = timeline::read(self.store, &[user.as_str()]).await?;
        let known = timelines.into_iter().flat_map(Timeline::into_histories);
        let labelled = known.filter_map(|(known, history)| {
            let label = known.label_known_at(i64::MAX)?.to_owned();
            let (id, occurred_at, transaction) = (known.id, known.occurred_at, known.transaction);
            Some(LabelledRow { id, occurred_at, transaction, history, label })
        });
        Ok(Some(labelled.collect()))
    }
}
