//! The guard's folder: its last report, and the ledger.

use crate::guard::FileError;
use crate::guard::ledger::{Entry, LedgerError};
use crate::guard::shell::{Report, STATUS_FILE};

use super::Console;

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// The report.
    #[error("the guard's report")]
    Report(#[from] FileError),
    /// The ledger.
    #[error("the ledger")]
    Ledger(#[from] LedgerError),
}

impl Console {
    /// The last report of the guard that leads, whichever program it is in; `None` when none was ever written, or it is
    /// of another version.
    pub(super) fn report(&self) -> Result<Option<Report>, FolderError> {
        let text = crate::guard::read_file(&self.0.settings.folder.join(STATUS_FILE))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The ledger's entries, the newest first.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, FolderError> {
        let mut entries = self.0.ledger.read()?;
        entries.reverse();
        Ok(entries)
    }
}
