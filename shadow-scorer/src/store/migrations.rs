//! The tables, brought up to date when a store is opened. A migration that was released never changes: add another.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, SqlSafeStr};

use super::place::Place;
use super::{StoreError, error};

const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "initial", include_str!("../../migrations/0001_initial.sql"))];

pub(super) async fn run(pool: &AnyPool, place: &Place) -> Result<(), StoreError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations).run(pool).await.map_err(|source| match source {
        sqlx::migrate::MigrateError::Execute(source) | sqlx::migrate::MigrateError::ExecuteMigration(source, _) => {
            error::of(place, source)
        }
        source => StoreError::OtherVersion { place: place.to_string(), source },
    })
}
