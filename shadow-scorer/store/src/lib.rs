//! Suggestion events, labels, feedback and counts, on SQLite or PostgreSQL, and a cache over the application's
//! entities.
//!
//! One [`Store`] over one pool (sqlx's `Any`), one set of migrations, one set of queries: SQL that both take, with
//! numbered parameters. SQLite is the default, since it needs nothing to be started; PostgreSQL is chosen by URL.
//!
//! **Bounds.** The pool is bounded and a caller waits at most [`Options::statement_timeout`] for a connection and as
//! long again for an answer, then gets [`StoreError::Late`]. PostgreSQL is told the same limit, so that it stops too.
//! Entities are read by the application ([`EntityReader`]) through a bounded cache: they never change after the fact,
//! so a hit needs no store at all, and a store that is slow or gone costs only what was never read. Live responses and
//! observation work do not wait for one that has not responded lately ([`StoreError::Away`]).
//!
//! **User ids** stay inside this module: what it hands out carries none.

mod analysis;
mod breaker;
mod entities;
mod error;
mod events;
mod feedback;
mod health;
mod labels;
mod migrations;
mod place;
mod pooler;
mod sql;
mod transaction;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection};

use breaker::Breaker;
use health::Health;

pub use analysis::{AnalysisCounts, CountBatch, Dispute, GroupRow, PairRow};
pub use entities::{EntityReader, Reading};
pub use error::StoreError;
pub use events::{PendingEvents, SuggestionEvent};
pub use feedback::{FeedbackRow, Recorded, StoredFeedback};
pub use labels::{CurrentLabel, LabelSource, NewLabel};
pub use place::Place;
pub use sql::{Marks, without_nul};
pub use waiting::{WaitingFeedback, Waits};

/// Between two tries of what SQLite does not wait for itself.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Connections of one scorer at most: for live answers, for observations and for feedback.
const MOST_CONNECTIONS: u32 = 2 * CONNECTIONS + FEEDBACK_CONNECTIONS;
const CONNECTIONS: u32 = 8;
const FEEDBACK_CONNECTIONS: u32 = 4;

/// How the store is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections at once, at least 1.
    pub connections: u32,
    /// Longest wait for a connection, and again for an answer.
    pub statement_timeout: Duration,
    /// Entities kept in the cache.
    pub cached_entities: u64,
    /// How long one is kept: what was changed by hand in the store shows after this.
    pub cached_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            statement_timeout: Duration::from_secs(2),
            cached_entities: 200_000,
            cached_for: Duration::from_secs(300),
        }
    }
}

impl Options {
    /// The connections that feedback has for itself, so that it takes none from live answers.
    #[must_use]
    pub fn for_feedback() -> Self {
        Self { connections: FEEDBACK_CONNECTIONS, ..Self::default() }
    }
}

/// A handle to the store; clones share pool, cache and what is known of its absence.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    place: Place,
    cache: entities::Cache,
    reader: Arc<dyn EntityReader>,
    breaker: Arc<Breaker>,
    health: Arc<Health>,
    pending: PendingEvents,
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
    /// Opens a store that is there, and brings its tables up to date. `reader` reads the application's entities.
    ///
    /// # Errors
    /// A URL of another kind, no such store, one that is locked, unreachable or newer than this program.
    pub async fn open(url: &str, options: &Options, reader: Arc<dyn EntityReader>) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        place.must_exist(reader.command())?;
        Self::connect(place, options, reader, Arc::new(Health::new())).await
    }

    /// As [`Store::open`], but an SQLite file that is not there is made, with its folder.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn create(url: &str, options: &Options, reader: Arc<dyn EntityReader>) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        place.make_folder()?;
        Self::connect(place, options, reader, Arc::new(Health::new())).await
    }

    /// The same store by connections of its own, which the calling runtime serves; the cache, the events that are on
    /// their way and what is known of the store's writes are shared. So work of another kind neither waits for these
    /// connections nor keeps them waiting, nor does one learn from the other's overload that the store is away.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn beside(&self, options: &Options) -> Result<Self, StoreError> {
        let other =
            Self::connect(self.place.clone(), options, Arc::clone(&self.reader), Arc::clone(&self.health)).await?;
        Ok(Self { cache: self.cache.clone(), pending: self.pending.clone(), ..other })
    }

    async fn connect(
        place: Place,
        options: &Options,
        reader: Arc<dyn EntityReader>,
        health: Arc<Health>,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let session = place.session_settings(options.statement_timeout);
        first_connection(&place, &session, options.statement_timeout).await?;
        let admitting = Arc::clone(&health);
        // A late statement is an error that its caller counts; logged, one that stores many rows is a line of 30 KB.
        let connect = place.connect_url().parse::<AnyConnectOptions>().map_err(|source| error::of(&place, source))?;
        let connect = connect.disable_statement_logging();
        let pool = |session: Arc<[String]>| {
            AnyPoolOptions::new()
                .max_connections(options.connections.max(1))
                .acquire_timeout(options.statement_timeout)
                .after_connect(move |connection, _| {
                    let session = Arc::clone(&session);
                    Box::pin(async move { apply(&session, connection).await })
                })
        };
        let migrating = pool(place.migration_settings(options.statement_timeout)).max_connections(1);
        let migrating = migrating.connect_with(connect.clone()).await.map_err(|cause| error::of(&place, cause))?;
        let migrated = migrations::run(&migrating, &place).await;
        migrating.close().await;
        migrated?;
        let pool = pool(session)
            .before_acquire(move |_, connection| {
                let admitted = admitting.admits(connection.age);
                Box::pin(async move { Ok(admitted) })
            })
            .connect_with(connect)
            .await
            .map_err(|cause| error::of(&place, cause))?;
        let cache = entities::cache(options);
        Ok(Self {
            pool,
            place,
            cache,
            reader,
            breaker: Arc::default(),
            health,
            pending: PendingEvents::default(),
            begun: Instant::now(),
            timeout: options.statement_timeout,
        })
    }

    /// Where it is, without its password.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns nothing if it answers.
    ///
    /// # Errors
    /// When it does not, within the statement timeout.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.within(sqlx::raw_sql("SELECT 1").execute(&self.pool)).await.map(|_| ())
    }

    /// Writes a row, to find out whether the store takes writes; [`Store::trouble`] tells until the next probe.
    ///
    /// # Errors
    /// When it takes none, within the statement timeout.
    pub async fn probe_writes(&self, now: i64) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO write_probe (id, probed_at) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET probed_at = excluded.probed_at",
        );
        self.within(query.bind(now).execute(&self.pool)).await?;
        self.health.wrote();
        Ok(())
    }

    /// Why the store takes no writes, as the last one found out; `None` if it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.health.last_error()
    }

    /// Waits for writes under way and closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The connections, for an application's own statements.
    #[must_use]
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// How this store's database marks the parameters of statements with many.
    #[must_use]
    pub const fn marks(&self) -> Marks {
        Marks::of(&self.place)
    }

    /// `query`, bounded in time, with an error that names this store.
    ///
    /// # Errors
    /// What the database said, or [`StoreError::Late`].
    pub async fn within<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        // Twice: once to get a connection (the pool's own limit), once for the answer.
        match tokio::time::timeout(self.timeout.saturating_mul(2), query).await {
            Ok(answer) => answer.map_err(|cause| self.failed(cause)),
            Err(_) => Err(StoreError::Late { place: self.place.to_string() }),
        }
    }
}

impl Store {
    /// What the driver said, sorted, and remembered where it says that no writes are taken.
    #[must_use]
    pub fn failed(&self, cause: sqlx::Error) -> StoreError {
        let error = error::of(&self.place, cause);
        self.health.failed(&error);
        error
    }
}

/// One connection before there is a pool: a pool goes on trying until its time is up and then says only that.
async fn first_connection(place: &Place, session: &[String], limit: Duration) -> Result<(), StoreError> {
    let begun = Instant::now();
    let told = |said| error::of(place, said);
    let attempt = async {
        let mut connection = AnyConnection::connect(&place.connect_url()).await.map_err(told)?;
        if place.is_postgres() {
            pooler::refuse(place, &mut connection).await?;
        }
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
