//! What can go wrong with a store, and what to do about it.

use super::place::Place;

/// A store that cannot be used. Each message says what to do; passwords never show.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is of no kind that is known.
    #[error(
        "{url:?} is no store: give sqlite://path/to/perch.sqlite or postgres://user@host:port/database (--store, PERCH_STORE)"
    )]
    WrongUrl {
        /// What was given, its password hidden.
        url: String,
    },
    /// There is no such SQLite file.
    #[error(
        "there is no store at {path}: make one with `rules-backend seed --store sqlite://{path}`, or give the right place with --store"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// The file or folder cannot be made or opened.
    #[error("the store {place} cannot be opened: check that its folder exists and may be written by this user")]
    NotOpened {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another program holds the lock.
    #[error("the store {place} is locked by another program: wait until its writing is done, or stop it")]
    Locked {
        /// Where.
        place: String,
    },
    /// PostgreSQL does not answer or refuses us.
    #[error(
        "the store {place} cannot be reached: start the server, or correct host, port, user and database in --store"
    )]
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// No answer in time.
    #[error("the store {place} did not answer in time: it is overloaded or hangs; look at its own log")]
    Late {
        /// Where.
        place: String,
    },
    /// It was not asked, since it has not answered those before.
    #[error("the store {place} has not answered lately: it is tried once a second until it does; look at its own log")]
    Away {
        /// Where.
        place: String,
    },
    /// Its tables were made by another version of the program.
    #[error(
        "the store {place} has tables that this program does not know: use the program that made them, or another store"
    )]
    OtherVersion {
        /// Where.
        place: String,
        /// What differs.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// Anything else the database said.
    #[error("the store {place} refused a statement")]
    Failed {
        /// Where.
        place: String,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Is the store itself out of reach, whatever it is asked?
    pub(super) const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NotOpened { .. }
                | Self::Locked { .. }
                | Self::Unreachable { .. }
                | Self::Late { .. }
                | Self::Away { .. }
        )
    }
}

/// Sorts what the driver said into what an operator can act on.
pub(super) fn of(place: &Place, source: sqlx::Error) -> StoreError {
    let here = place.to_string();
    match &source {
        sqlx::Error::PoolTimedOut => return StoreError::Late { place: here },
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            return StoreError::Unreachable { place: here, source };
        }
        sqlx::Error::Database(said) => {
            let message = said.message();
            let code = said.code().unwrap_or_default();
            if message.contains("database is locked") || message.contains("database table is locked") {
                return StoreError::Locked { place: here };
            }
            if message.contains("unable to open database file") || message.contains("file is not a database") {
                return StoreError::NotOpened { place: here, source: Box::new(source) };
            }
            // PostgreSQL: connection, authentication, no such database, shutting down, too many connections.
            if ["08", "28", "3D", "57P", "53300"].iter().any(|class| place.is_postgres() && code.starts_with(class)) {
                return StoreError::Unreachable { place: here, source };
            }
            // PostgreSQL: cancelled by the statement timeout.
            if place.is_postgres() && code == "57014" {
                return StoreError::Late { place: here };
            }
        }
        _ => {}
    }
    StoreError::Failed { place: here, source }
}
