//! Where a store is: a URL, checked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::StoreError;

/// A checked store URL. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Sqlite(PathBuf),
    Postgres { url: String, shown: String },
}

impl Place {
    /// `sqlite://PATH`, `postgres://…` or `postgresql://…`.
    ///
    /// # Errors
    /// Any other URL.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = || StoreError::WrongUrl { url: without_password(url) };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(wrong());
            }
            return Ok(Self { kind: Kind::Sqlite(path.into()) });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self { kind: Kind::Postgres { url: url.into(), shown: without_password(url) } });
        }
        Err(wrong())
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::Postgres { .. })
    }

    pub(crate) fn must_exist(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sqlite(path) => match std::fs::metadata(path) {
                Ok(file) if file.is_file() && file.len() == 0 => {
                    Err(StoreError::Empty { path: path.display().to_string() })
                }
                Ok(file) if file.is_file() => Ok(()),
                _ => Err(StoreError::Missing { path: path.display().to_string() }),
            },
            Kind::Postgres { .. } => Ok(()),
        }
    }

    pub(crate) fn make_folder(&self) -> Result<(), StoreError> {
        if let Kind::Sqlite(path) = &self.kind
            && let Some(folder) = path.parent()
            && folder != Path::new("")
        {
            std::fs::create_dir_all(folder)
                .map_err(|source| StoreError::NotOpened { place: self.to_string(), cause: Box::new(source) })?;
        }
        Ok(())
    }

    pub(crate) fn connect_url(&self) -> String {
        match &self.kind {
            Kind::Sqlite(path) => format!("sqlite://{}?mode=rwc", escaped(path)),
            Kind::Postgres { url, .. } => url.clone(),
        }
    }

    /// What a store's first connection tells it: it stays with the file.
    pub(crate) const fn file_settings(&self) -> &'static [&'static str] {
        match self.kind {
            // Readers never wait for a writer; a writer waits its turn.
            Kind::Sqlite(_) => &["PRAGMA journal_mode = WAL"],
            Kind::Postgres { .. } => &[],
        }
    }

    /// What the connection of migrations is told first: to rewrite a large table, or to wait for another program that does,
    /// takes longer than any statement of ours may.
    pub(crate) fn migration_settings(&self, statement_timeout: Duration) -> Arc<[String]> {
        // PostgreSQL reads 0 as no limit.
        self.session_settings(if self.is_postgres() { Duration::ZERO } else { statement_timeout })
    }

    /// What each connection is told first.
    pub(crate) fn session_settings(&self, statement_timeout: Duration) -> Arc<[String]> {
        let millis = statement_timeout.as_millis();
        match self.kind {
            // NORMAL: a crash of the machine may lose the last moments, never the file.
            Kind::Sqlite(_) => Arc::from([
                format!("PRAGMA busy_timeout = {millis}"),
                "PRAGMA synchronous = NORMAL".to_owned(),
                "PRAGMA foreign_keys = ON".to_owned(),
            ]),
            Kind::Postgres { .. } => Arc::from([format!("SET statement_timeout = {millis}")]),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Kind::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The path as a URL holds it.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// `scheme://user:secret@host` → `scheme://user:…@host`; a password among the parameters goes with all of them.
fn without_password(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((login, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:…@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in ["postgres://perch:hunter2@db:5432/perch", "postgres://db/perch?user=a&password=hunter2"] {
            let place = Place::parse(url).unwrap();
            assert!(!format!("{place} {place:?}").contains("hunter2"), "{place}");
            assert_eq!(place.connect_url(), url);
        }
        let error = Place::parse("mysql://perch:hunter2@db/perch").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("postgres://"), "{error}");
    }

    #[test]
    fn a_url_without_a_place_is_refused() {
        for url in ["", "perch.sqlite", "sqlite:", "sqlite://", "sqlite::memory:", "redis://x"] {
            assert!(matches!(Place::parse(url), Err(StoreError::WrongUrl { .. })), "{url}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_the_command_that_makes_it() {
        let error = Place::parse("sqlite:///nowhere/perch.sqlite").unwrap().must_exist().unwrap_err().to_string();
        assert!(error.contains("/nowhere/perch.sqlite") && error.contains("rules-backend seed"), "{error}");
    }
}
