//! Suggestion events, labels, feedback and counts, on SQLite or PostgreSQL, and a cache over the application's
//! entities.
//!
//! One [`Store`] over one pool (sqlx's `Any`), one set of migrations, one set of queries: SQL that both take, with
//! numbered parameters. SQLite is the default, since it needs nothing to be started; PostgreSQL is chosen by URL.
//!
//! **Bounds.** The pool is bounded and a caller waits at most [`Options::statement_timeout`] for a connection and as
//! long again for a result, then gets [`StoreError::Late`]. PostgreSQL has the same limit, so that it stops too.
//! Entities are read by the application ([`EntityReader`]) through a bounded cache: they never change after the fact,
//! so a hit needs no store at all, and a store that is slow or gone costs only what was never read. Live responses and
//! observation work do not wait for one that has not responded lately ([`StoreError::Away`]).
//!
//! **User ids** stay inside this module: what it hands out carries none.

mod analysis;
mod breaker;
mod cache;
mod classify;
mod entities;
mod error;
mod events;
mod feedback;
mod health;
mod labels;
mod migrations;
mod options;
mod pending;
mod place;
mod pooler;
mod sql;
mod transaction;
mod waiting;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scorer_features::Entity;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection};

use breaker::Breaker;
use cache::Cache;
use classify::classify;
use health::Health;

pub use analysis::{AnalysisCounts, CountBatch, Dispute, GroupRow, PairRow};
pub use error::StoreError;
pub use feedback::{FeedbackRow, Recorded, StoredFeedback};
pub use labels::{CurrentLabel, LabelSource, NewLabel};
pub use options::Options;
pub use pending::{PendingEvents, SuggestionEvent};
pub use place::Place;
pub use sql::{Marks, without_nul};
pub use waiting::{WaitingFeedback, Waits};

/// Between two tries of what SQLite does not wait for itself.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What [`EntityReader::read`] returns.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Vec<Arc<dyn Entity>>, StoreError>> + Send + 'a>>;

/// How an application's entities are read from its own tables, which are in the same database.
pub trait EntityReader: Debug + Send + Sync {
    /// The closed set of labels that an entity may have.
    fn labels(&self) -> &[&'static str];

    /// The command that makes a store, which a message adds `--store URL` to.
    fn seed_command(&self) -> &'static str;

    /// Reads the entities of `ids` (each once) that exist, in any order. It may read others too, such as those that are
    /// likely to be needed next: they are cached. What it reads must not change later, since it is not read again.
    fn read<'a>(&'a self, store: &'a Store, ids: &'a [i64]) -> Reading<'a>;
}

/// No application: no labels and no entities.
impl EntityReader for () {
    fn labels(&self) -> &[&'static str] {
        &[]
    }

    fn seed_command(&self) -> &'static str {
        "the application's command"
    }

    fn read<'a>(&'a self, _: &'a Store, _: &'a [i64]) -> Reading<'a> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A handle to the store; clones share pool, cache and what is known of its absence.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    place: Place,
    cache: Cache,
    reader: Arc<dyn EntityReader>,
    breaker: Arc<Breaker>,
    health: Arc<Health>,
    pending: PendingEvents,
    /// What the breaker's times are counted from.
    begun: Instant,
    timeout: Duration,
}

impl Debug for Store {
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
        place.must_exist(reader.seed_command())?;
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
        let connect = place.connect_url().parse::<AnyConnectOptions>().map_err(|source| classify(&place, source))?;
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
        let migrating = migrating.connect_with(connect.clone()).await.map_err(|cause| classify(&place, cause))?;
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
            .map_err(|cause| classify(&place, cause))?;
        let cache = cache::new(options);
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

    /// Checks that the store responds.
    ///
    /// # Errors
    /// When it does not within the statement timeout.
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

    /// Why the store takes no writes, by the last failed one; `None` if it takes them.
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
        // Twice: once to get a connection (the pool's own limit), once for the result.
        match tokio::time::timeout(self.timeout.saturating_mul(2), query).await {
            Ok(result) => result.map_err(|cause| self.failed(cause)),
            Err(_) => Err(StoreError::Late { place: self.place.to_string() }),
        }
    }
}

impl Store {
    /// Classifies an error of the driver, and remembers one by which the store takes no writes.
    #[must_use]
    pub fn failed(&self, cause: sqlx::Error) -> StoreError {
        let error = classify(&self.place, cause);
        self.health.failed(&error);
        error
    }
}

/// One connection before there is a pool: a pool goes on trying until its time is up and then says only that.
async fn first_connection(place: &Place, session: &[String], limit: Duration) -> Result<(), StoreError> {
    let begun = Instant::now();
    let classified = |cause| classify(place, cause);
    let attempt = async {
        let mut connection = AnyConnection::connect(&place.connect_url()).await.map_err(classified)?;
        if place.is_postgres() {
            pooler::refuse(place, &mut connection).await?;
        }
        apply(session, &mut connection).await.map_err(classified)?;
        loop {
            match apply(place.file_settings(), &mut connection).await.map_err(classified) {
                // To change a file's journal SQLite does not wait for other programs, whatever its busy timeout. An
                // attempt that ends before the limit can report the lock rather than only a timeout.
                Err(StoreError::Locked { .. }) if begun.elapsed() < limit / 2 => tokio::time::sleep(LOCK_PAUSE).await,
                Err(error) => return Err(error),
                Ok(()) => return connection.close().await.map_err(classified),
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
