//! What can go wrong with a store, and what to do about it.

/// A store that cannot be used. Each message says what to do and what the database said; passwords never show.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is of an unknown kind.
    #[error(
        "{url:?} is not the URL of a store: give sqlite://path/to/perch.sqlite or postgres://user@host:port/database (--store, PERCH_STORE)"
    )]
    WrongUrl {
        /// What was given, its password hidden.
        url: String,
    },
    /// There is no such SQLite file.
    #[error("there is no store at {path}: make one with `{command} --store sqlite://{path}`, or correct --store")]
    Missing {
        /// The file.
        path: String,
        /// The application's command that makes one.
        command: &'static str,
    },
    /// The SQLite file holds nothing.
    #[error(
        "the store at {path} is a file of 0 bytes, as a copy that broke off or a full disk leaves it: put the whole file \
         there, or remove it and make a store with `{command} --store sqlite://{path}`"
    )]
    Empty {
        /// The file.
        path: String,
        /// The application's command that makes one.
        command: &'static str,
    },
    /// The file or folder cannot be made or opened.
    #[error(
        "the store {place} cannot be opened: check that its folder exists and may be written by this user ({cause})"
    )]
    NotOpened {
        /// Where.
        place: String,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another program holds the lock.
    #[error("the store {place} is locked by another program: wait until its writing is done, or stop it")]
    Locked {
        /// Where.
        place: String,
    },
    /// PostgreSQL does not answer or refuses us.
    #[error(
        "the store {place} cannot be reached: start the server, or correct host, port, user and database in --store ({cause})"
    )]
    Unreachable {
        /// Where.
        place: String,
        /// Why.
        cause: sqlx::Error,
    },
    /// PostgreSQL has no connection left.
    #[error(
        "the store {place} has no connection left: raise max_connections of the server or CONNECTION LIMIT of the role \
         (a scorer uses up to {most}), or stop what holds them ({cause})", most = super::options::MOST_CONNECTIONS
    )]
    NoConnection {
        /// Where.
        place: String,
        /// What it said.
        cause: sqlx::Error,
    },
    /// A pooler does not give each connection a session of its own.
    #[error(
        "the store {place} is behind a connection pooler that does not keep sessions as the scorer needs them: set \
         pool_mode=session for this database and ignore_startup_parameters=extra_float_digits (PgBouncer), or give the \
         server's own address in --store ({cause})"
    )]
    Pooler {
        /// Where.
        place: String,
        /// How that was found out.
        cause: String,
    },
    /// It answers, but takes no writes from us.
    #[error(
        "the store {place} takes no writes: a file must be writable by this user, with its folder; a PostgreSQL server must be \
         the primary, to which new connections are made from now on ({cause})"
    )]
    ReadOnly {
        /// Where.
        place: String,
        /// What it said.
        cause: sqlx::Error,
    },
    /// It has no room left.
    #[error("the store {place} has no room left: free some on its disk ({cause})")]
    Full {
        /// Where.
        place: String,
        /// What it said.
        cause: sqlx::Error,
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
    #[error("the store {place} refused a statement: {cause}")]
    Failed {
        /// Where.
        place: String,
        /// What it said.
        cause: sqlx::Error,
    },
}

impl StoreError {
    /// Returns `true` if the store itself is out of reach, for any statement.
    pub(crate) const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NotOpened { .. }
                | Self::Locked { .. }
                | Self::Unreachable { .. }
                | Self::NoConnection { .. }
                | Self::Late { .. }
                | Self::Away { .. }
        )
    }

    /// Returns `true` if the store takes no writes at all, as opposed to refusing certain rows.
    #[must_use]
    pub fn takes_no_writes(&self) -> bool {
        match self {
            Self::ReadOnly { .. } | Self::Full { .. } | Self::NotOpened { .. } => true,
            // SQLite: a file that is damaged, or a disk that fails.
            Self::Failed { cause, .. } => {
                sqlite_code(cause).is_some_and(|code| [SQLITE_IOERR, SQLITE_CORRUPT].contains(&code))
            }
            _ => false,
        }
    }

    /// Returns `true` if the same rows would be refused again: it is they that the database does not take.
    #[must_use]
    pub fn is_of_the_rows(&self) -> bool {
        let Self::Failed { cause: sqlx::Error::Database(said), .. } = self else { return false };
        // PostgreSQL: cardinality, data, constraints, a row or an index entry that is too large.
        let code = said.code().unwrap_or_default();
        let of_postgres = code.len() == 5 && ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class));
        let of_sqlite =
            code.parse::<u32>().is_ok_and(|code| [SQLITE_TOOBIG, SQLITE_CONSTRAINT].contains(&(code & 0xff)));
        of_postgres || (code.len() < 5 && of_sqlite)
    }
}

pub(crate) const SQLITE_READONLY: u32 = 8;
const SQLITE_IOERR: u32 = 10;
const SQLITE_CORRUPT: u32 = 11;
pub(crate) const SQLITE_FULL: u32 = 13;
const SQLITE_TOOBIG: u32 = 18;
const SQLITE_CONSTRAINT: u32 = 19;

/// SQLite's primary result code; codes of PostgreSQL have five characters.
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(said) = error else { return None };
    let code = said.code()?;
    let code: u32 = code.parse().ok().filter(|_| code.len() < 5)?;
    Some(code & 0xff)
}
