//! Sorts the errors of the database driver into those that an operator can act on.

use super::error::{SQLITE_FULL, SQLITE_READONLY, StoreError, sqlite_code};
use super::place::Place;

/// The error for `cause`, as the driver gave it for the store at `place`.
pub(crate) fn classify(place: &Place, cause: sqlx::Error) -> StoreError {
    let here = place.to_string();
    match &cause {
        sqlx::Error::PoolTimedOut => return StoreError::Late { place: here },
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            return StoreError::Unreachable { place: here, cause };
        }
        sqlx::Error::Database(said) => {
            let message = said.message();
            let code = said.code().unwrap_or_default();
            if message.contains("database is locked") || message.contains("database table is locked") {
                return StoreError::Locked { place: here };
            }
            if message.contains("unable to open database file") || message.contains("file is not a database") {
                return StoreError::NotOpened { place: here, cause: Box::new(cause) };
            }
            if !place.is_postgres() {
                match sqlite_code(&cause) {
                    Some(SQLITE_READONLY) => return StoreError::ReadOnly { place: here, cause },
                    Some(SQLITE_FULL) => return StoreError::Full { place: here, cause },
                    _ => return StoreError::Failed { place: here, cause },
                }
            }
            match &*code {
                "53300" => return StoreError::NoConnection { place: here, cause },
                "53100" => return StoreError::Full { place: here, cause },
                // A standby, or a primary that was demoted.
                "25006" => return StoreError::ReadOnly { place: here, cause },
                // A prepared statement that exists already, or that no longer does.
                "42P05" | "26000" => return StoreError::Pooler { place: here, cause: cause.to_string() },
                "08P01" if message.contains("startup parameter") => {
                    return StoreError::Pooler { place: here, cause: cause.to_string() };
                }
                // Cancelled by the statement timeout.
                "57014" => return StoreError::Late { place: here },
                _ => {}
            }
            // Connection, authentication, no such database, shutting down.
            if ["08", "28", "3D", "57P"].iter().any(|class| code.starts_with(class)) {
                return StoreError::Unreachable { place: here, cause };
            }
        }
        _ => {}
    }
    StoreError::Failed { place: here, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{AnyConnection, Connection as _, Executor as _};

    /// The error of `write` on a SQLite file that was opened with `parameters` and on which `before` was executed.
    async fn write_error(parameters: &str, before: &'static str, write: &'static str) -> StoreError {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store", folder.path().display());
        let place = Place::parse(&url).unwrap();
        let mut making = AnyConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
        making.execute("CREATE TABLE t (x TEXT NOT NULL)").await.unwrap();
        making.close().await.unwrap();
        let mut connection = AnyConnection::connect(&format!("{url}{parameters}")).await.unwrap();
        connection.execute(before).await.unwrap();
        classify(&place, connection.execute(write).await.unwrap_err())
    }

    /// Case A17, and N3: the message holds what the database said.
    #[tokio::test]
    async fn a_full_disk_and_a_file_that_is_read_only_are_named() {
        let full =
            write_error("?mode=rwc", "PRAGMA max_page_count = 2", "INSERT INTO t VALUES (hex(zeroblob(9000)))").await;
        assert!(matches!(full, StoreError::Full { .. }) && full.takes_no_writes(), "{full:?}");
        assert!(full.to_string().contains("database or disk is full"), "{full}");
        let read_only = write_error("?mode=ro", "SELECT 1", "INSERT INTO t VALUES ('a')").await;
        assert!(matches!(read_only, StoreError::ReadOnly { .. }) && read_only.takes_no_writes(), "{read_only:?}");
        assert!(read_only.to_string().contains("attempt to write a readonly database"), "{read_only}");
    }

    #[tokio::test]
    async fn rows_that_are_refused_are_not_the_stores_absence() {
        let refused = write_error("?mode=rwc", "SELECT 1", "INSERT INTO t VALUES (NULL)").await;
        assert!(refused.is_of_the_rows() && !refused.takes_no_writes() && !refused.is_absence(), "{refused:?}");
        assert!(refused.to_string().contains("NOT NULL"), "{refused}");
        let wrong = write_error("?mode=rwc", "SELECT 1", "INSERT INTO nowhere VALUES (1)").await;
        assert!(!wrong.is_of_the_rows() && wrong.to_string().contains("no such table"), "{wrong:?}");
    }
}
