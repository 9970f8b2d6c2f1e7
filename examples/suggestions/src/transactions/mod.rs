//! Transactions with what their user did before, in the table `transactions` of the scorer's store.

mod histories;
mod row;
mod timeline;

use std::any::Any;
use std::collections::HashMap;

use scorer_features::Entity;
use scorer_store::{Store, StoreError};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::features::history::{MOST_PAST, Past};
use crate::features::text::Normalised;
use crate::features::{History, Transaction, encode};

use row::{COLUMNS, read_row};

pub use histories::{LabelledRow, UserRows, users};

/// Rows that are written in one statement.
const MOST_ROWS: usize = 500;
/// Users with up to so many transactions are read whole: at 200 counted ones each ([`MOST_PAST`]), reading more than
/// is asked for costs less than asking again.
const MOST_AT_ONCE: i64 = 256;

/// A transaction as the model sees it, with its user's history; the user's id stays in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionWithHistory {
    /// Its id.
    pub id: i64,
    /// The transaction.
    pub transaction: Transaction,
    /// What its user did before.
    pub history: History,
}

impl TransactionWithHistory {
    /// The transaction that `entity` is; `None` for an entity of another application.
    #[must_use]
    pub fn of(entity: &dyn Entity) -> Option<&Self> {
        (entity as &dyn Any).downcast_ref()
    }
}

impl Entity for TransactionWithHistory {
    fn id(&self) -> i64 {
        self.id
    }

    fn write_features(&self, row: &mut [f32]) {
        if let Err(wrong) = encode(&self.transaction, &self.history, row) {
            // The scorer's rows are of the schema's width.
            tracing::error!(error = %wrong, "encoding_failed");
        }
    }
}

/// A transaction to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransaction {
    /// Its id, unique.
    pub id: i64,
    /// Whose it is.
    pub user_id: String,
    /// Seconds since 1970, UTC.
    pub occurred_at: i64,
    /// As the statement writes it.
    pub merchant: String,
    /// Free text, may be empty.
    pub memo: String,
    /// Negative is money spent.
    pub amount_cents: i64,
    /// How it was paid, in words.
    pub channel: String,
    /// Merchant category code, where known.
    pub mcc: Option<u16>,
    /// `true` if it repeats by itself, where known.
    pub subscription: Option<bool>,
    /// `true` if it is from person to person, where known.
    pub p2p: Option<bool>,
}

/// Reads the transactions of `ids`. A caller that wants one transaction of a user soon wants another, so an ordinary
/// user's are read all at once; of a user with very many, those of `ids` only.
///
/// # Errors
/// When the store does not respond in time.
pub(crate) async fn find(store: &Store, ids: &[i64]) -> Result<Vec<TransactionWithHistory>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS}, t.user_id, (SELECT COUNT(*) FROM transactions u WHERE u.user_id = t.user_id) \
         FROM transactions t WHERE t.id IN ({})",
        store.marks().list(ids.len())
    );
    let rows = rows_of(store, ids, &statement).await?;
    let failed = |cause| store.failed(cause);
    let mut users: Vec<&str> = Vec::new();
    let mut alone: Vec<(i64, Transaction)> = Vec::new();
    for row in &rows {
        if row.try_get::<i64, _>(10).map_err(failed)? <= MOST_AT_ONCE {
            users.push(row.try_get(9).map_err(failed)?);
        } else {
            let (id, _, transaction) = read_row(row).map_err(failed)?;
            alone.push((id, transaction));
        }
    }
    users.sort_unstable();
    users.dedup();
    let mut found = if alone.is_empty() { Vec::new() } else { read_alone(store, alone).await? };
    if !users.is_empty() {
        for timeline in timeline::read(store, &users).await? {
            found.extend(timeline.into_histories().map(|(known, history)| TransactionWithHistory {
                id: known.id,
                transaction: known.transaction,
                history,
            }));
        }
    }
    Ok(found)
}

async fn read_alone(store: &Store, wanted: Vec<(i64, Transaction)>) -> Result<Vec<TransactionWithHistory>, StoreError> {
    let ids: Vec<i64> = wanted.iter().map(|(id, _)| *id).collect();
    let pasts = pasts(store, &ids).await?;
    let with_history = |(id, transaction): (i64, Transaction)| {
        let past = pasts.get(&id).map(Vec::as_slice).unwrap_or_default();
        let past = past.iter().map(|(merchant, label)| Past { merchant, label });
        let history = History::of(&Normalised::merchant(&transaction.merchant), past);
        TransactionWithHistory { id, transaction, history }
    };
    Ok(wanted.into_iter().map(with_history).collect())
}

/// For each id, the earlier labelled transactions of its user as they were known then, newest first.
async fn pasts(store: &Store, ids: &[i64]) -> Result<HashMap<i64, Vec<(Normalised, String)>>, StoreError> {
    // Of each source the newest row known then counts, unless it takes the label back, and of those the newest
    // (feedback at a draw); ranks are taken over transactions, so that two labels of one do not push another out.
    let statement = format!(
        "SELECT past.for_id, past.merchant, past.label FROM ( \
           SELECT w.id AS for_id, p.merchant AS merchant, l.label AS label, p.occurred_at AS at, p.id AS past_id, \
             ROW_NUMBER() OVER (PARTITION BY w.id ORDER BY p.occurred_at DESC, p.id DESC) AS place \
           FROM transactions w \
           JOIN transactions p ON p.user_id = w.user_id AND p.occurred_at < w.occurred_at \
           JOIN transaction_labels l ON l.txn_id = p.id AND l.labelled_at <= w.occurred_at \
           WHERE w.id IN ({}) AND l.label <> '' AND NOT EXISTS ( \
             SELECT 1 FROM transaction_labels o WHERE o.txn_id = p.id AND o.source = l.source \
               AND o.labelled_at <= w.occurred_at AND o.labelled_at > l.labelled_at) \
           AND NOT EXISTS ( \
             SELECT 1 FROM transaction_labels n WHERE n.txn_id = p.id AND n.source <> l.source \
               AND n.labelled_at <= w.occurred_at AND n.label <> '' \
               AND (n.labelled_at > l.labelled_at OR (n.labelled_at = l.labelled_at AND n.source < l.source)) \
               AND NOT EXISTS ( \
                 SELECT 1 FROM transaction_labels m WHERE m.txn_id = p.id AND m.source = n.source \
                   AND m.labelled_at <= w.occurred_at AND m.labelled_at > n.labelled_at)) \
         ) past WHERE past.place <= {MOST_PAST} ORDER BY past.for_id, past.place",
        store.marks().list(ids.len())
    );
    let mut pasts: HashMap<i64, Vec<(Normalised, String)>> = HashMap::new();
    for row in rows_of(store, ids, &statement).await? {
        let read = || Ok((row.try_get(0)?, (Normalised::merchant(row.try_get(1)?), row.try_get(2)?)));
        let (id, past): (i64, _) = read().map_err(|cause| store.failed(cause))?;
        pasts.entry(id).or_default().push(past);
    }
    Ok(pasts)
}

async fn rows_of(store: &Store, ids: &[i64], statement: &str) -> Result<Vec<AnyRow>, StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    for id in ids {
        query = query.bind(*id);
    }
    store.within(query.fetch_all(store.pool())).await
}

/// Adds transactions; one that is there already is left as it is.
///
/// # Errors
/// When the store does not take them.
pub async fn add(store: &Store, new: &[NewTransaction]) -> Result<(), StoreError> {
    for chunk in new.chunks(MOST_ROWS) {
        let statement = format!(
            "INSERT INTO transactions (id, user_id, occurred_at, merchant, memo, amount_cents, channel, mcc, \
             is_subscription, is_p2p) VALUES {} ON CONFLICT (id) DO NOTHING",
            store.marks().rows(chunk.len(), 10)
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for t in chunk {
            query = query
                .bind(t.id)
                .bind(t.user_id.as_str())
                .bind(t.occurred_at)
                .bind(t.merchant.as_str())
                .bind(t.memo.as_str())
                .bind(t.amount_cents)
                .bind(t.channel.as_str())
                .bind(t.mcc.map(i64::from))
                .bind(t.subscription.map(i64::from))
                .bind(t.p2p.map(i64::from));
        }
        store.within(query.execute(store.pool())).await?;
    }
    Ok(())
}

/// How many transactions there are.
///
/// # Errors
/// When the store does not respond in time.
pub async fn count(store: &Store) -> Result<i64, StoreError> {
    let (count,) = store.within(sqlx::query_as("SELECT COUNT(*) FROM transactions").fetch_one(store.pool())).await?;
    Ok(count)
}
