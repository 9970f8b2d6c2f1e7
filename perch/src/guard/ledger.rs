//! The audit log, and the lock that makes it one story.
//!
//! Whoever moves the share (an operator's command, the console, the guard) holds the ledger meanwhile: the order of the
//! entries is the order in which the gateways were told. An operator is never refused. What works by itself, the guard
//! and alerts, is refused when an operator has spoken since it made up its mind ([`Held::overtaken`]): the last human
//! word holds. A guard also gives way to an alert, and decides anew.
//!
//! Orders to the guard are entries too; it carries out those that it has not seen. One line of JSON each, appended and
//! synced; a line that a crash has cut is left out and written over.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::{self, FileError};
use super::plan::raw::Raw;

/// How long the lock is waited for. It is held while gateways are told, which is seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried.
const RETRY: Duration = Duration::from_millis(20);

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, …
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// By whom.
    pub by: By,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Why, in words.
    pub reason: String,
    /// Tells this word from every other, where it could be sent twice: it is taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// An operator, by the name that is known.
    Human(String),
    /// A guard.
    Guard(String),
    /// An alert.
    Alert(String),
}

/// What was said or done. Shares as Envoy's runtime writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The share was set.
    Set {
        /// Before; `None` when it was not known.
        from: Option<String>,
        /// After.
        to: String,
    },
    /// The share was found changed without an entry: by hand at a gateway.
    Found {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// The beta cohort's own share was set.
    Beta {
        /// Before; `None` when it was not known.
        from: Option<String>,
        /// After.
        to: String,
    },
    /// The guard froze the ramp.
    Froze,
    /// Order: start a ramp.
    Start {
        /// With this plan.
        plan: Box<Raw>,
    },
    /// Order: do not act until resumed.
    Pause,
    /// Order: go on.
    Resume,
    /// Order: let the ramp leave a step that waits for a human.
    Approve,
    /// Order: no more ramp.
    Abort,
    /// Order: back to 0 %, latched.
    Rollback,
    /// Something was wanted and not done, since an operator had spoken meanwhile, or because it made no sense.
    Refused {
        /// What was wanted.
        wanted: String,
    },
}

/// A ledger that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody holds it for too long.
    #[error("{} has been held for {PATIENCE:?} by another program: is one stuck?", .0.display())]
    Busy(PathBuf),
    /// An entry could not be written as JSON, which does not happen.
    #[error("an entry that is no JSON")]
    Json(#[from] serde_json::Error),
}

/// The ledger in a folder.
#[derive(Debug, Clone)]
pub struct Ledger {
    entries: PathBuf,
    lock: PathBuf,
}

impl Ledger {
    /// The ledger of the guard's `folder`, which is made if need be.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn in_folder(folder: &Path) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(folder).map_err(FileError::on("making", folder))?;
        Ok(Self { entries: folder.join("ledger.jsonl"), lock: folder.join("ledger.lock") })
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        Ok(self.whole()?.0)
    }

    /// Waits for the ledger and holds it until the result is dropped.
    ///
    /// # Errors
    /// When it cannot be locked or read.
    pub async fn hold(&self) -> Result<Held, LedgerError> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        let lock = open.map_err(FileError::on("opening", &self.lock))?;
        let tries = PATIENCE.as_millis() / RETRY.as_millis();
        for _ in 0..tries {
            match lock.try_lock() {
                Ok(()) => {
                    let (entries, length) = self.whole()?;
                    return Ok(Held { path: self.entries.clone(), entries, length, _lock: lock });
                }
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(RETRY).await,
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(FileError::on("locking", &self.lock)(error).into());
                }
            }
        }
        Err(LedgerError::Busy(self.lock.clone()))
    }

    /// The entries, and how many bytes of the file they are.
    fn whole(&self) -> Result<(Vec<Entry>, u64), LedgerError> {
        let text = file::read(&self.entries)?.unwrap_or_default();
        let mut length = 0;
        let mut entries = Vec::new();
        for line in text.split_inclusive('\n') {
            let Ok(entry) = serde_json::from_str(line) else { break };
            if !line.ends_with('\n') {
                break;
            }
            length += line.len() as u64;
            entries.push(entry);
        }
        Ok((entries, length))
    }
}

/// The ledger, held.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    entries: Vec<Entry>,
    length: u64,
    _lock: File,
}

impl Held {
    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of the last entry; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }

    /// What an operator or an alert has said since entry `number`, if anything: a guard that made up its mind at that entry
    /// must not act on it.
    #[must_use]
    pub fn overtaken(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().rev().take_while(|entry| entry.number > number).find(|entry| {
            let other = !matches!(entry.by, By::Guard(_)) || matches!(entry.what, What::Found { .. });
            other && !matches!(entry.what, What::Refused { .. })
        })
    }

    /// The entry that has this key.
    #[must_use]
    pub fn keyed(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key.as_deref() == Some(key))
    }

    /// Appends an entry; its number.
    ///
    /// # Errors
    /// When it cannot be written; the ledger is then as it was.
    pub fn append(&mut self, at_ms: u64, by: By, what: What, reason: impl Into<String>) -> Result<u64, LedgerError> {
        self.push(at_ms, by, what, reason.into(), None)
    }

    /// Appends an entry with a key, for which [`Held::keyed`] has found none; its number.
    ///
    /// # Errors
    /// When it cannot be written; the ledger is then as it was.
    pub fn append_keyed(
        &mut self,
        at_ms: u64,
        by: By,
        what: What,
        reason: impl Into<String>,
        key: &str,
    ) -> Result<u64, LedgerError> {
        self.push(at_ms, by, what, reason.into(), Some(key.to_owned()))
    }

    fn push(
        &mut self,
        at_ms: u64,
        by: By,
        what: What,
        reason: String,
        key: Option<String>,
    ) -> Result<u64, LedgerError> {
        let entry = Entry { number: self.last() + 1, at_ms, by, what, reason, key };
        let line = serde_json::to_string(&entry)? + "\n";
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
            // Whatever follows the last whole entry was cut by a crash.
            file.set_len(self.length)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        write().map_err(FileError::on("writing", &self.path))?;
        self.length += line.len() as u64;
        self.entries.push(entry);
        Ok(self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn human() -> By {
        By::Human("ada".into())
    }

    fn set(to: &str) -> What {
        What::Set { from: None, to: to.into() }
    }

    #[tokio::test]
    async fn many_writers_make_one_story() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let writers = (0..8).map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for at in 0..10 {
                    let mut held = ledger.hold().await.unwrap();
                    tokio::task::yield_now().await;
                    held.append(at, By::Guard(writer.to_string()), set("10"), "").unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let numbers: Vec<u64> = ledger.read().unwrap().iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=80).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_line_that_was_cut_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        ledger.hold().await.unwrap().append(1, human(), set("10"), "try").unwrap();
        let path = folder.path().join("ledger.jsonl");
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"number\":2,\"at")).unwrap();
        ledger.hold().await.unwrap().append(2, human(), set("20"), "more").unwrap();
        let entries = ledger.read().unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[1].number, &entries[1].what), (2, &set("20")));
    }

    #[tokio::test]
    async fn a_keyed_word_is_found_again_also_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        ledger.hold().await.unwrap().append_keyed(1, human(), What::Pause, "", "form 1").unwrap();
        ledger.hold().await.unwrap().append(2, human(), What::Resume, "").unwrap();
        let held = ledger.hold().await.unwrap();
        assert_eq!(held.keyed("form 1").map(|entry| entry.number), Some(1));
        assert_eq!(held.keyed("form 2"), None);
    }

    #[tokio::test]
    async fn operators_and_alerts_overtake_a_guard_and_guards_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let mut held = ledger.hold().await.unwrap();
        let decided_at = held.append(1, By::Guard("g".into()), set("10"), "").unwrap();
        held.append(2, By::Guard("g".into()), What::Froze, "").unwrap();
        held.append(2, human(), What::Refused { wanted: "20".into() }, "").unwrap();
        assert_eq!(held.overtaken(decided_at), None);
        held.append(3, human(), set("20"), "").unwrap();
        held.append(4, By::Guard("g".into()), What::Froze, "").unwrap();
        assert_eq!(held.overtaken(decided_at).map(|entry| entry.number), Some(4));
        assert_eq!(held.overtaken(4), None);
        held.append(5, By::Alert("agreement".into()), What::Rollback, "").unwrap();
        assert_eq!(held.overtaken(4).map(|entry| entry.number), Some(6));
    }
}
