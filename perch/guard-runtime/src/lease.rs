//! The lease that lets only one of several guards act. It expires when its holder is gone.
//!
//! The lease is a file beside the audit log. It is read and written under the audit log's lock, and checked again under
//! that lock before the share is set, so that a holder that was suspended beyond its term (a paused machine) notices
//! before it acts.
//!
//! A holder is identified by a random number drawn at its start and not by its name, which two containers may share. A
//! lease has expired when its time is over, or when it was not renewed for a term by the waiting guard's clock: after a
//! clock was set back, the stored time may be hours ahead.
//!
//! Guards that do not share a folder cannot see each other: run one, or give them a common volume whose locks hold on
//! all of its machines. On NFS those are the server's locks: mounted with `nolock`, `local_lock=flock` or
//! `local_lock=all`, each machine locks for itself ([`locks_on_one_machine_only`]).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, FileError};

/// The right to act until some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Name of the holder, e.g. host and process number.
    pub holder: String,
    /// Random number drawn at the holder's start.
    #[serde(default)]
    pub id: String,
    /// Expiry, in milliseconds since 1970.
    pub until_ms: u64,
    /// Increases by one with each new holder.
    pub term: u64,
}

/// The lease's file. Use it only while the audit log is locked.
#[derive(Debug, Clone)]
pub struct LeaseFile {
    path: PathBuf,
    id: String,
    /// Another guard's lease, and the time since which it is unchanged, by this guard's clock.
    waiting: Option<(Lease, u64)>,
}

impl LeaseFile {
    /// The lease in the guard's folder; `id` identifies this guard.
    #[must_use]
    pub fn in_folder(folder: &Path, id: impl Into<String>) -> Self {
        Self { path: folder.join("lease.json"), id: id.into(), waiting: None }
    }

    /// The present lease. A file that cannot be parsed counts as no lease, which would otherwise be held for ever.
    ///
    /// # Errors
    /// When the file exists but cannot be opened.
    pub fn read(&self) -> Result<Option<Lease>, FileError> {
        Ok(file::read(&self.path)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Acquires or renews the lease for `holder`; returns `true` if `holder` holds it afterwards.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn acquire(&mut self, holder: &str, now_ms: u64, length_ms: u64) -> Result<bool, FileError> {
        let Some(lease) = self.next(holder, now_ms, length_ms)? else { return Ok(false) };
        let text = serde_json::to_string(&lease).unwrap_or_default();
        file::replace(&self.path, &text)?;
        Ok(true)
    }

    /// Releases the lease, so that another guard need not wait for it to expire.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn release(&self, holder: &str, now_ms: u64) -> Result<(), FileError> {
        match self.read()? {
            Some(lease) if self.is_mine(&lease, holder) => {
                let text = serde_json::to_string(&Lease { until_ms: now_ms, ..lease }).unwrap_or_default();
                file::replace(&self.path, &text)
            }
            _ => Ok(()),
        }
    }

    /// The lease that `holder` would hold from now on; `None` while another guard holds it.
    fn next(&mut self, holder: &str, now_ms: u64, length_ms: u64) -> Result<Option<Lease>, FileError> {
        let term = match self.read()? {
            None => 1,
            Some(lease) if self.is_mine(&lease, holder) => lease.term,
            Some(lease) if lease.until_ms <= now_ms || self.is_stalled(&lease, now_ms, length_ms) => {
                lease.term.saturating_add(1)
            }
            Some(_) => return Ok(None),
        };
        self.waiting = None;
        let (holder, id) = (holder.to_owned(), self.id.clone());
        Ok(Some(Lease { holder, id, until_ms: now_ms.saturating_add(length_ms), term }))
    }

    fn is_mine(&self, lease: &Lease, holder: &str) -> bool {
        lease.holder == holder && lease.id == self.id
    }

    /// Returns `true` if the lease was not renewed for a term, by this guard's clock.
    fn is_stalled(&mut self, lease: &Lease, now_ms: u64, length_ms: u64) -> bool {
        match &self.waiting {
            // This guard's own clock may have been set back too.
            Some((last, since_ms)) if last == lease && *since_ms <= now_ms => now_ms - since_ms >= length_ms,
            _ => {
                self.waiting = Some((lease.clone(), now_ms));
                false
            }
        }
    }
}

/// Returns `true` if locks in `folder` are not visible to other machines that may share it: NFS mounted with local
/// locks. `mounts` is the text of `/proc/self/mounts`.
#[must_use]
pub fn locks_on_one_machine_only(folder: &Path, mounts: &str) -> bool {
    let fields = |line: &str| {
        let mut fields = line.split(' ').skip(1).map(str::to_owned);
        Some((PathBuf::from(fields.next()?.replace("\\040", " ")), fields.next()?, fields.next()?))
    };
    // The longest mount point is the folder's; of two mounts on one path the later one counts.
    let mount = mounts
        .lines()
        .filter_map(fields)
        .filter(|(place, ..)| folder.starts_with(place))
        .max_by_key(|(place, ..)| place.components().count());
    let own = |option: &str| matches!(option, "nolock" | "local_lock=flock" | "local_lock=all");
    mount.is_some_and(|(_, kind, options)| kind.starts_with("nfs") && options.split(',').any(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_and_the_other_takes_over_when_the_term_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LeaseFile::in_folder(folder.path(), "");
        assert!(file.acquire("a", 0, 100).unwrap());
        assert!(!file.acquire("b", 50, 100).unwrap());
        assert!(file.acquire("a", 90, 100).unwrap());
        assert!(!file.acquire("b", 189, 100).unwrap());
        assert!(file.acquire("b", 190, 100).unwrap());
        assert!(!file.acquire("a", 200, 100).unwrap());
        assert_eq!(file.read().unwrap().unwrap().term, 2);
        file.release("b", 210).unwrap();
        assert!(file.acquire("a", 210, 100).unwrap());
    }

    #[test]
    fn a_torn_file_is_held_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lease.json"), "{\"hold").unwrap();
        assert!(LeaseFile::in_folder(folder.path(), "").acquire("a", 0, 100).unwrap());
    }

    #[test]
    fn case_5_of_two_guards_with_one_name_one_holds_the_lease() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = LeaseFile::in_folder(folder.path(), "1");
        let mut other = LeaseFile::in_folder(folder.path(), "2");
        for now_ms in (0..1_000).step_by(50) {
            assert!(one.acquire("h-1", now_ms, 100).unwrap(), "at {now_ms}");
            assert!(!other.acquire("h-1", now_ms + 10, 100).unwrap(), "at {now_ms}");
        }
        assert!(other.acquire("h-1", 1_050, 100).unwrap(), "it takes over when the first is gone");
        assert!(!one.acquire("h-1", 1_060, 100).unwrap());
        one.release("h-1", 1_060).unwrap();
        assert!(!one.acquire("h-1", 1_070, 100).unwrap(), "a guard releases its own lease only");
    }

    #[test]
    fn case_6_a_lease_from_before_the_clock_was_set_back_is_over_after_a_term() {
        let folder = tempfile::tempdir().unwrap();
        let hour = 3_600_000;
        LeaseFile::in_folder(folder.path(), "1").acquire("old", hour, 100).unwrap();
        let mut file = LeaseFile::in_folder(folder.path(), "2");
        assert!(!file.acquire("new", 0, 100).unwrap(), "its holder may be alive, with a clock that is ahead");
        assert!(!file.acquire("new", 99, 100).unwrap());
        assert!(file.acquire("new", 100, 100).unwrap());
    }

    #[test]
    fn a_holder_whose_clock_is_ahead_keeps_the_lease_while_it_prolongs_it() {
        let folder = tempfile::tempdir().unwrap();
        let hour = 3_600_000;
        let (mut ahead, mut waiting) =
            (LeaseFile::in_folder(folder.path(), "1"), LeaseFile::in_folder(folder.path(), "2"));
        for now_ms in (0..1_000).step_by(50) {
            assert!(ahead.acquire("a", hour + now_ms, 100).unwrap());
            assert!(!waiting.acquire("b", now_ms, 100).unwrap());
        }
        // And its own clock is set back while it waits.
        assert!(!waiting.acquire("b", 500, 100).unwrap());
        assert!(!waiting.acquire("b", 599, 100).unwrap());
        assert!(waiting.acquire("b", 600, 100).unwrap());
    }

    #[test]
    fn case_67_an_nfs_mount_with_locks_of_its_own_is_recognised() {
        let mounts = "/dev/sda1 / ext4 rw 0 0\nnas:/x /srv/a nfs4 rw,vers=4.2,local_lock=none 0 0\n\
            nas:/x /srv/b nfs rw,vers=3,local_lock=flock,addr=10.0.0.1 0 0\nnas:/x /srv/two\\040words nfs rw,nolock 0 0\n\
            /dev/sdb1 /srv/b/disk ext4 rw 0 0\n";
        for (folder, alone) in [
            ("/var/lib/perch", false),
            ("/srv/a/perch", false),
            ("/srv/b/perch", true),
            ("/srv/two words/perch", true),
            ("/srv/b/disk/perch", false),
            ("/srv/bb", false),
        ] {
            assert_eq!(locks_on_one_machine_only(Path::new(folder), mounts), alone, "{folder}");
        }
    }
}
