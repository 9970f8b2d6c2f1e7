//! Transactions with what their user did before, through a bounded cache.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Moka;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Options, Store, StoreError};
use crate::features::history::{MOST_PAST, Past};
use crate::features::text::Normalised;
use crate::features::transaction::{hour, weekday};
use crate::features::{History, Transaction};

/// Ids asked of the store in one statement.
const MOST_IDS: usize = 500;
/// Users with up to so many transactions are read whole: at 200 counted ones each ([`MOST_PAST`]), reading more than
/// is asked for costs less than asking again.
const MOST_AT_ONCE: i64 = 256;

/// Whoever waits for less finds out nothing about the store.
const FAIR: Duration = Duration::from_millis(50);

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
    /// Does it repeat by itself, where known?
    pub subscription: Option<bool>,
    /// From person to person, where known?
    pub p2p: Option<bool>,
}

/// By their ids.
type Found = HashMap<i64, Arc<TransactionWithHistory>>;

fn in_order(ids: &[i64], found: &Found) -> Vec<Arc<TransactionWithHistory>> {
    ids.iter().filter_map(|id| found.get(id).cloned()).collect()
}

pub(super) type Cache = Moka<i64, Arc<TransactionWithHistory>>;

pub(super) fn cache(options: &Options) -> Cache {
    Moka::builder().max_capacity(options.cached_transactions).time_to_live(options.cached_for).build()
}

/// The columns that [`read`] reads.
pub(super) const COLUMNS: &str =
    "t.id, t.occurred_at, t.merchant, t.memo, t.amount_cents, t.channel, t.mcc, t.is_subscription, t.is_p2p";

impl Store {
    /// The transactions of `ids`, in that order; unknown ids are left out, an id asked twice comes twice.
    ///
    /// # Errors
    /// When one is not in the cache and the store cannot be asked in time.
    pub async fn transactions(&self, ids: &[i64]) -> Result<Vec<Arc<TransactionWithHistory>>, StoreError> {
        let (mut found, wanted) = self.cached(ids);
        self.read(&wanted, &mut found).await?;
        Ok(in_order(ids, &found))
    }

    /// The same for somebody who waits `limit` at most, and not at all for a store that has not answered lately.
    ///
    /// # Errors
    /// As [`Store::transactions`].
    pub async fn transactions_within(
        &self,
        ids: &[i64],
        limit: Duration,
    ) -> Result<Vec<Arc<TransactionWithHistory>>, StoreError> {
        let (mut found, wanted) = self.cached(ids);
        if wanted.is_empty() {
            return Ok(in_order(ids, &found));
        }
        if !self.breaker.admits(self.now_ms()) {
            return Err(StoreError::Away { place: self.place.to_string() });
        }
        let late = || StoreError::Late { place: self.place.to_string() };
        let read = tokio::time::timeout(limit, self.read(&wanted, &mut found)).await.unwrap_or_else(|_| Err(late()));
        match &read {
            Err(StoreError::Late { .. }) if limit < FAIR => {}
            Err(error) if error.is_absence() => self.breaker.missed(self.now_ms()),
            _ => self.breaker.answered(),
        }
        read.map(|()| in_order(ids, &found))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Those that are in the cache, and which ones are not, each once.
    fn cached(&self, ids: &[i64]) -> (Found, Vec<i64>) {
        let mut found = Found::with_capacity(ids.len());
        let mut wanted: Vec<i64> = Vec::new();
        for id in ids {
            match self.cache.get(id) {
                Some(cached) => {
                    found.insert(*id, cached);
                }
                None => wanted.push(*id),
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        (found, wanted)
    }

    async fn read(&self, wanted: &[i64], found: &mut Found) -> Result<(), StoreError> {
        for chunk in wanted.chunks(MOST_IDS) {
            for read in self.read_transactions(chunk).await? {
                let read = Arc::new(read);
                self.cache.insert(read.id, Arc::clone(&read));
                found.insert(read.id, read);
            }
        }
        Ok(())
    }

    /// Reads what is not in the cache. Whoever asks about one transaction of a user soon asks about another, so an
    /// ordinary user's are read all at once and kept; of a user with very many, those asked for.
    async fn read_transactions(&self, ids: &[i64]) -> Result<Vec<TransactionWithHistory>, StoreError> {
        let statement = format!(
            "SELECT {COLUMNS}, t.user_id, (SELECT COUNT(*) FROM transactions u WHERE u.user_id = t.user_id) \
             FROM transactions t WHERE t.id IN ({})",
            self.marks().list(ids.len())
        );
        let rows = self.rows_of(ids, &statement).await?;
        let failed = |cause| self.failed(cause);
        let mut users: Vec<&str> = Vec::new();
        let mut alone: Vec<(i64, Transaction)> = Vec::new();
        for row in &rows {
            if row.try_get::<i64, _>(10).map_err(failed)? <= MOST_AT_ONCE {
                users.push(row.try_get(9).map_err(failed)?);
            } else {
                let (id, _, transaction) = read(row).map_err(failed)?;
                alone.push((id, transaction));
            }
        }
        users.sort_unstable();
        users.dedup();
        let mut found = if alone.is_empty() { Vec::new() } else { self.read_alone(alone).await? };
        if !users.is_empty() {
            for timeline in self.timelines(&users).await? {
                found.extend(timeline.into_histories().map(|(known, history)| TransactionWithHistory {
                    id: known.id,
                    transaction: known.transaction,
                    history,
                }));
            }
        }
        Ok(found)
    }

    async fn read_alone(&self, wanted: Vec<(i64, Transaction)>) -> Result<Vec<TransactionWithHistory>, StoreError> {
        let ids: Vec<i64> = wanted.iter().map(|(id, _)| *id).collect();
        let pasts = self.pasts(&ids).await?;
        let with_history = |(id, transaction): (i64, Transaction)| {
            let past = pasts.get(&id).map(Vec::as_slice).unwrap_or_default();
            let past = past.iter().map(|(merchant, label)| Past { merchant, label });
            let history = History::of(&Normalised::merchant(&transaction.merchant), past);
            TransactionWithHistory { id, transaction, history }
        };
        Ok(wanted.into_iter().map(with_history).collect())
    }

    /// For each id, the earlier labelled transactions of its user as they were known then, newest first.
    async fn pasts(&self, ids: &[i64]) -> Result<HashMap<i64, Vec<(Normalised, String)>>, StoreError> {
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
            self.marks().list(ids.len())
        );
        let mut pasts: HashMap<i64, Vec<(Normalised, String)>> = HashMap::new();
        for row in self.rows_of(ids, &statement).await? {
            let read = || Ok((row.try_get(0)?, (Normalised::merchant(row.try_get(1)?), row.try_get(2)?)));
            let (id, past): (i64, _) = read().map_err(|cause| self.failed(cause))?;
            pasts.entry(id).or_default().push(past);
        }
        Ok(pasts)
    }

    async fn rows_of(&self, ids: &[i64], statement: &str) -> Result<Vec<AnyRow>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        for id in ids {
            query = query.bind(*id);
        }
        self.within(query.fetch_all(&self.pool)).await
    }

    /// Adds transactions; one that is there already is left as it is.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn add_transactions(&self, new: &[NewTransaction]) -> Result<(), StoreError> {
        for chunk in new.chunks(MOST_IDS) {
            let statement = format!(
                "INSERT INTO transactions (id, user_id, occurred_at, merchant, memo, amount_cents, channel, mcc, \
                 is_subscription, is_p2p) VALUES {} ON CONFLICT (id) DO NOTHING",
                self.marks().rows(chunk.len(), 10)
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
            self.within(query.execute(&self.pool)).await?;
        }
        Ok(())
    }

    /// How many transactions there are.
    ///
    /// # Errors
    /// When the store cannot be asked in time.
    pub async fn count_transactions(&self) -> Result<i64, StoreError> {
        let (count,) = self.within(sqlx::query_as("SELECT COUNT(*) FROM transactions").fetch_one(&self.pool)).await?;
        Ok(count)
    }
}

/// Id, time and transaction of a row of [`COLUMNS`].
pub(super) fn read(row: &AnyRow) -> Result<(i64, i64, Transaction), sqlx::Error> {
    let occurred_at: i64 = row.try_get(1)?;
    let cents: i64 = row.try_get(4)?;
    let mcc: Option<i64> = row.try_get(6)?;
    let flag = |place: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(place)?.map(|flag| flag != 0));
    let transaction = Transaction {
        merchant: row.try_get(2)?,
        memo: row.try_get(3)?,
        #[allow(clippy::cast_precision_loss)] // cents are exact up to 2^53
        amount: Some(cents as f64 / 100.0),
        mcc: mcc.and_then(|mcc| u16::try_from(mcc).ok()),
        channel: row.try_get(5)?,
        hour: Some(hour(occurred_at)),
        weekday: Some(weekday(occurred_at)),
        subscription: flag(7)?,
        p2p: flag(8)?,
    };
    Ok((row.try_get(0)?, occurred_at, transaction))
}
