//! Is a deployment as it should be? What `perch doctor` finds, each with the mend.
//!
//! The checks are pure: [`gateway`] judges what one Envoy says of itself, [`fleet`] what several programs say together.
//! Asking them is the command's work.

mod config_dump;
mod filter;
pub mod fleet;
pub mod gateway;
mod native;

pub use config_dump::Gateway;
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be told.
    Unknown,
    /// Worth a look; nothing is broken.
    Warn,
    /// To be mended.
    Bad,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, e.g. `headers`.
    pub check: &'static str,
    /// Where: a URL, or empty for the deployment as a whole.
    pub place: String,
    /// How bad.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do, empty when nothing.
    pub mend: String,
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn ok(check: &'static str, place: &str, found: impl Into<String>) -> Self {
        Self { check, place: place.to_owned(), level: Level::Ok, found: found.into(), mend: String::new() }
    }

    /// Not as it should be.
    #[must_use]
    pub fn of(
        level: Level,
        check: &'static str,
        place: &str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, place: place.to_owned(), level, found: found.into(), mend: mend.into() }
    }
}
