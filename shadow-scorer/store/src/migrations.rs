//! The tables, brought up to date when a store is opened. A migration that was released never changes: add another.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, SqlSafeStr};

use super::StoreError;
use super::classify::classify;
use super::place::Place;

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "initial", include_str!("../migrations/0001_initial.sql")),
    (2, "analysis", include_str!("../migrations/0002_analysis.sql")),
    (3, "arms", include_str!("../migrations/0003_arms.sql")),
    (4, "feedback", include_str!("../migrations/0004_feedback.sql")),
];

/// Tries, where another program may be bringing the same SQLite file up to date.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// PostgreSQL's migrations hold a lock, SQLite's do not: there the slower of two programs finds a table made under its
/// hands, its transaction is undone, and the next try finds nothing left to do.
pub(crate) async fn run(pool: &AnyPool, place: &Place) -> Result<(), StoreError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let migrator = Migrator::with_migrations(migrations);
    let mut tries = 1;
    loop {
        match migrator.run(pool).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
                if tries < TRIES && !place.is_postgres() =>
            {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => {
                return Err(classify(place, source));
            }
            Err(source) => return Err(StoreError::OtherVersion { place: place.to_string(), source }),
        }
    }
}
