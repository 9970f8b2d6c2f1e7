//! Two guards do not duel: only the holder of the lease acts, and a lease runs out when its holder is gone.
//!
//! The lease is a file beside the ledger, read and written under the ledger's lock, and looked at again under that lock
//! before anything is set. So a holder that slept through its term (a paused machine) finds out before it acts. Guards
//! that do not share a folder cannot see each other: run one, or give them a common volume.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, FileError};

/// Who may act, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Name of the holder, e.g. host and process number.
    pub holder: String,
    /// Milliseconds since 1970.
    pub until_ms: u64,
    /// Goes up by one with each new holder.
    pub term: u64,
}

/// The lease that `me` has from now on; `None` while another one holds it.
#[must_use]
pub fn take(current: Option<&Lease>, me: &str, now_ms: u64, length_ms: u64) -> Option<Lease> {
    let term = match current {
        None => 1,
        Some(lease) if lease.holder == me => lease.term,
        Some(lease) if lease.until_ms <= now_ms => lease.term.saturating_add(1),
        Some(_) => return None,
    };
    Some(Lease { holder: me.to_owned(), until_ms: now_ms.saturating_add(length_ms), term })
}

/// The lease's file. Use it only while the ledger is held.
#[derive(Debug, Clone)]
pub struct LeaseFile(PathBuf);

impl LeaseFile {
    /// In the guard's folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("lease.json"))
    }

    /// The lease as it stands. One that cannot be read is none: it would otherwise be held for ever.
    ///
    /// # Errors
    /// When the file is there but cannot be opened.
    pub fn read(&self) -> Result<Option<Lease>, FileError> {
        Ok(file::read(&self.0)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Takes or prolongs the lease for `me`; whether it is held then.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn hold(&self, me: &str, now_ms: u64, length_ms: u64) -> Result<bool, FileError> {
        let Some(lease) = take(self.read()?.as_ref(), me, now_ms, length_ms) else { return Ok(false) };
        let text = serde_json::to_string(&lease).unwrap_or_default();
        file::replace(&self.0, &text)?;
        Ok(true)
    }

    /// Gives the lease up, so that another guard need not wait for its end.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn release(&self, me: &str, now_ms: u64) -> Result<(), FileError> {
        match self.read()? {
            Some(lease) if lease.holder == me => {
                let text = serde_json::to_string(&Lease { until_ms: now_ms, ..lease }).unwrap_or_default();
                file::replace(&self.0, &text)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_and_the_other_takes_over_when_the_term_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = LeaseFile::in_folder(folder.path());
        assert!(file.hold("a", 0, 100).unwrap());
        assert!(!file.hold("b", 50, 100).unwrap());
        assert!(file.hold("a", 90, 100).unwrap());
        assert!(!file.hold("b", 189, 100).unwrap());
        assert!(file.hold("b", 190, 100).unwrap());
        assert!(!file.hold("a", 200, 100).unwrap());
        assert_eq!(file.read().unwrap().unwrap().term, 2);
        file.release("b", 210).unwrap();
        assert!(file.hold("a", 210, 100).unwrap());
    }

    #[test]
    fn a_torn_file_is_held_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lease.json"), "{\"hold").unwrap();
        assert!(LeaseFile::in_folder(folder.path()).hold("a", 0, 100).unwrap());
    }
}
