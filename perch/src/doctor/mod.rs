//! Diagnoses a deployment for `perch doctor`: checks whose findings have a fix.
//!
//! The checks do no I/O: [`gateway`] judges the state that one Envoy reports, [`fleet`] compares several programs. The
//! command fetches their input.

mod config_dump;
mod filter;
pub mod fleet;
pub mod gateway;
mod native;

pub use config_dump::Gateway;
use serde::Serialize;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// The check had no data.
    Unknown,
    /// Nothing is broken, but an operator should check it.
    Warn,
    /// Something is broken.
    Error,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, e.g. `headers`.
    pub check: &'static str,
    /// The URL of the program that was checked; empty for the deployment as a whole.
    pub place: String,
    /// The severity.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// The fix; empty if none is needed.
    pub fix: String,
}

impl Finding {
    /// A finding that nothing is wrong.
    #[must_use]
    pub fn ok(check: &'static str, place: &str, found: impl Into<String>) -> Self {
        Self { check, place: place.to_owned(), level: Level::Ok, found: found.into(), fix: String::new() }
    }

    /// A finding with its fix.
    #[must_use]
    pub fn of(
        level: Level,
        check: &'static str,
        place: &str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check, place: place.to_owned(), level, found: found.into(), fix: fix.into() }
    }
}
