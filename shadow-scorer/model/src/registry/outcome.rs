//! What became of a change, and of a model that was to be loaded.

use std::io;
use std::time::SystemTime;

use crate::folder::Alias;
use crate::lock::LockError;
use crate::refusal::Refusal;

/// A model that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedVersion {
    /// The alias that named it.
    pub alias: Alias,
    /// The version.
    pub version: String,
    /// [`Refusal::reason`].
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
    /// When.
    pub at: SystemTime,
}

/// A change that did not happen. What served goes on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The model failed its checks.
    #[error("version {version} is refused: {refusal}")]
    Refused {
        /// The version.
        version: String,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The deploy policy says no.
    #[error("version {version} is not deployed: {reason}; force it to deploy it all the same")]
    Policy {
        /// The version.
        version: String,
        /// Why.
        reason: String,
    },
    /// It had no turn, or the client went away before it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is nothing to go back to.
    #[error("there is no previous version to go back to: the alias \"previous\" names none")]
    NoPrevious,
    /// The folder cannot be read or written.
    #[error("the registry {folder} cannot be changed: {source}")]
    Folder {
        /// Its path.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What a change led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOutcome {
    /// Who serves now.
    pub champion: String,
    /// Where going back would go.
    pub previous: Option<String>,
    /// Versions that were removed, as only the last few are kept.
    pub removed: Vec<String>,
}
