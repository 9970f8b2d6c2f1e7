//! Transactions, labels, suggestion events and feedback, on SQLite or PostgreSQL.
//!
//! One [`Store`] over one pool (sqlx's `Any`), one set of migrations, one set of queries: SQL that both take, with
//! numbered parameters. SQLite is the default, since it needs nothing to be started; PostgreSQL is chosen by URL.
//!
//! **Bounds.** The pool is bounded and a caller waits at most [`Options::statement_timeout`] for a connection and as
//! long again for an answer, then gets [`StoreError::Late`]. PostgreSQL is told the same limit, so that it stops too.
//! Reads of transactions go through a bounded cache: what a row holds never changes after the fact (see
//! [`crate::features::History`]), so a hit needs no store at all, and a store that is slow or gone costs only what was
//! never read. Who serves or observes does not wait for one that has not answered lately ([`StoreError::Away`]).
//!
//! **User ids** stay inside this module: what it hands out carries none.

mod analysis;
mod breaker;
mod error;
mod events;
mod feedback;
mod histories;
mod labels;
mod migrations;
mod place;
mod sql;
mod timeline;
mod transactions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection};

use breaker::Breaker;

pub use analysis::{Dispute, GroupRow, PairRow, Said};
pub use error::StoreError;
pub use events::SuggestionEvent;
pub use feedback::{FeedbackRow, Recorded};
pub use histories::{LabelledRow, UserRows};
pub use labels::{LabelSource, NewLabel};
pub use place::Place;
use sql::Marks;
pub use transactions::{NewTransaction, TransactionWithHistory};

/// Between two tries of what SQLite does not wait for itself.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How the store is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections at once, at least 1.
    pub connections: u32,
    /// Longest wait for a connection, and again for an answer.
    pub statement_timeout: Duration,
    /// Transactions kept in the cache, with their histories (about 400 bytes each).
    pub cached_transactions: u64,
    /// How long one is kept: what was changed by hand in the store shows after this.
    pub cached_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 8,
            statement_timeout: Duration::from_secs(2),
            cached_transactions: 200_000,
            cached_for: Duration::from_secs(300),
        }
    }
}

/// A handle to the store; clones share pool, cache and what is known of its absence.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    place: Place,
    cache: transactions::Cache,
    breaker: Arc<Breaker>,
    /// What the breaker's times are counted from.
    begun: Instant,
    timeout: Duration,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.place)
    }
}

impl Store {
    /// Opens a store that is there, and brings its tables up to date.
    ///
    /// # Errors
    /// A URL of another kind, no such store, one that is locked, unreachable or newer than this program.
    pub async fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        place.must_exist()?;
        Self::connect(place, options).await
    }

    /// As [`Store::open`], but an SQLite file that is not there is made, with its folder.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn create(url: &str, options: &Options) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        place.make_folder()?;
        Self::connect(place, options).await
    }

    /// The same store by connections of its own, which the calling runtime serves; the cache is shared. So work of
    /// another kind neither waits for these connections nor keeps them waiting, nor does one learn from the other's
    /// overload that the store is away.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn beside(&self, options: &Options) -> Result<Self, StoreError> {
        let other = Self::connect(self.place.clone(), options).await?;
        Ok(Self { cache: self.cache.clone(), ..other })
    }

    async fn connect(place: Place, options: &Options) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let session = place.session_settings(options.statement_timeout);
        first_connection(&place, &session, options.statement_timeout).await?;
        // A late statement is an error that its caller counts; logged, one that stores many rows is a line of 30 KB.
        let connect = place.connect_url().parse::<AnyConnectOptions>().map_err(|source| error::of(&place, source))?;
        let connect = connect.disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.statement_timeout)
            .after_connect(move |connection, _| {
                let session = Arc::clone(&session);
                Box::pin(async move { apply(&session, connection).await })
            })
            .connect_with(connect)
            .await
            .map_err(|source| error::of(&place, source))?;
        migrations::run(&pool, &place).await?;
        let cache = transactions::cache(options);
        let breaker = Arc::default();
        Ok(Self { pool, place, cache, breaker, begun: Instant::now(), timeout: options.statement_timeout })
    }

    /// Where it is, without its password.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Does it answer?
    ///
    /// # Errors
    /// When it does not, within the statement timeout.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.within(sqlx::raw_sql("SELECT 1").execute(&self.pool)).await.map(|_| ())
    }

    /// Waits for writes under way and closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// How this store's database marks the parameters of statements with many.
    const fn marks(&self) -> Marks {
        Marks::of(&self.place)
    }

    /// `query`, bounded in time, with an error that speaks of this store.
    async fn within<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        // Twice: once to get a connection (the pool's own limit), once for the answer.
        match tokio::time::timeout(self.timeout.saturating_mul(2), query).await {
            Ok(answer) => answer.map_err(|source| error::of(&self.place, source)),
            Err(_) => Err(StoreError::Late { place: self.place.to_string() }),
        }
    }
}

/// One connection before there is a pool: a pool goes on trying until its time is up and then says only that.
async fn first_connection(place: &Place, session: &[String], limit: Duration) -> Result<(), StoreError> {
    let begun = Instant::now();
    let told = |said| error::of(place, said);
    let attempt = async {
        let mut connection = AnyConnection::connect(&place.connect_url()).await.map_err(told)?;
        apply(session, &mut connection).await.map_err(told)?;
        loop {
            match apply(place.file_settings(), &mut connection).await.map_err(told) {
                // To change a file's journal SQLite does not wait for other programs, whatever its busy timeout. Who
                // gives up before the limit can say that it is locked, and not only that it is late.
                Err(StoreError::Locked { .. }) if begun.elapsed() < limit / 2 => tokio::time::sleep(LOCK_PAUSE).await,
                Err(said) => return Err(said),
                Ok(()) => return connection.close().await.map_err(told),
            }
        }
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(tried) => tried,
        Err(_) => Err(StoreError::Late { place: place.to_string() }),
    }
}

async fn apply(settings: &[impl AsRef<str>], connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for setting in settings {
        sqlx::raw_sql(sqlx::AssertSqlSafe(setting.as_ref().to_owned())).execute(&mut *connection).await?;
    }
    Ok(())
}
