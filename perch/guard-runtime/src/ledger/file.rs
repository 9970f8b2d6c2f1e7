//! The audit log as a file: one line of JSON for each entry, appended and synced under a lock.
//!
//! What a reader finds there is never thrown away. A line that a crash has cut is left out and written over; a whole line
//! that is not what was written (a flipped bit: each line ends with a checksum) stays in the file, is left out and
//! reported, and the entries after it count. Numbers go on above everything that is known to have been numbered, also
//! when the file was lost, so that an order is never taken for one that was carried out long ago.

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::file::{self, FileError};
use super::super::shell::STATUS_FILE;
use super::{By, Entry, What};

/// How long the lock is waited for. It is held while gateways are told, which is seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried.
const RETRY: Duration = Duration::from_millis(20);
/// What an entry may need on disk, in bytes.
const ROOM: usize = 16 * 1024;
/// How a line's checksum begins; it ends with `"}`.
const CHECK: &str = ",\"check\":\"";
/// Bytes of the hash that are kept.
const CHECK_BYTES: usize = 4;

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
    #[error("an entry that cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The ledger in a folder.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
    entries: PathBuf,
    lock: PathBuf,
}

/// What the file holds.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The entries that can be read, in order.
    pub entries: Vec<Entry>,
    /// Lines that cannot.
    pub damaged: Vec<Damage>,
    /// Bytes of the file up to the end of the last line.
    length: u64,
    /// The last line has no end.
    open: bool,
}

/// A line that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Its number in the file, from 1.
    pub line: usize,
    /// Number of the last entry before it.
    pub after: u64,
}

impl Log {
    /// Number of the last entry that can be read; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }

    /// Which lines cannot be read, in words.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let lines: Vec<String> = self.damaged.iter().take(10).map(|damage| damage.line.to_string()).collect();
        (!lines.is_empty()).then(|| {
            let more = if self.damaged.len() > lines.len() { ", …" } else { "" };
            format!("the audit log is damaged: line {}{more} cannot be read (it stays in the file)", lines.join(", "))
        })
    }

    /// Takes in a line; returns `false` for one that a crash has cut.
    fn take(&mut self, line: &[u8], number: usize) -> bool {
        let whole = line.ends_with(b"\n");
        let last = self.last();
        match entry(line.trim_ascii_end()) {
            Some(entry) if entry.number > last => self.entries.push(entry),
            _ if !whole => return false,
            _ if line.trim_ascii().is_empty() => {}
            _ => self.damaged.push(Damage { line: number, after: last }),
        }
        self.length += line.len() as u64;
        self.open = !whole;
        true
    }

    /// The highest number that is known to be taken.
    fn numbered(&self) -> u64 {
        let last = self.last();
        let lost = self.damaged.iter().filter(|damage| damage.after == last).count();
        last.saturating_add(lost as u64)
    }
}

impl Ledger {
    /// The ledger of the guard's `folder`, which is made if need be.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn in_folder(folder: &Path) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(folder).map_err(FileError::on("making", folder))?;
        let file = |name| folder.join(name);
        Ok(Self { folder: folder.to_path_buf(), entries: file("ledger.jsonl"), lock: file("ledger.lock") })
    }

    /// All entries that can be read, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        Ok(self.log()?.entries)
    }

    /// What the file holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<Log, LedgerError> {
        let bytes = file::read_bytes(&self.entries)?.unwrap_or_default();
        let mut log = Log::default();
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if !log.take(line, index + 1) {
                break;
            }
        }
        Ok(log)
    }

    /// Waits for the ledger and holds it until the result is dropped.
    ///
    /// # Errors
    /// When it cannot be locked or read.
    pub async fn hold(&self) -> Result<Held, LedgerError> {
        let lock = self.open_lock().map_err(FileError::on("opening", &self.lock))?;
        let tries = PATIENCE.as_millis() / RETRY.as_millis();
        for _ in 0..tries {
            match lock.try_lock() {
                Ok(()) => {
                    let log = self.log()?;
                    let numbered = log.numbered().max(self.orders_done());
                    let (path, room) = (self.entries.clone(), self.folder.join("ledger.room"));
                    return Ok(Held { path, room, log, numbered, _lock: lock });
                }
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(RETRY).await,
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(FileError::on("locking", &self.lock)(error).into());
                }
            }
        }
        Err(LedgerError::Busy(self.lock.clone()))
    }

    /// A file system that became read-only, as after a fault of the disk, still locks.
    fn open_lock(&self) -> io::Result<File> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        open.or_else(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => File::open(&self.lock),
            _ => Err(error),
        })
    }

    /// Number of the last order that the guard has carried out, as its report says; 0 without one.
    fn orders_done(&self) -> u64 {
        #[derive(Deserialize)]
        struct Report {
            orders_done: u64,
        }
        let text = file::read(&self.folder.join(STATUS_FILE)).ok().flatten();
        let report = text.and_then(|text| serde_json::from_str::<Report>(&text).ok());
        report.map_or(0, |report| report.orders_done)
    }
}

/// The ledger, held.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    room: PathBuf,
    log: Log,
    numbered: u64,
    _lock: File,
}

impl Held {
    /// All entries that can be read, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.log.entries
    }

    /// What the file holds.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Number of the last entry; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.log.last()
    }

    /// New entries get numbers above this one.
    pub fn number_above(&mut self, number: u64) {
        self.numbered = self.numbered.max(number);
    }

    /// What an operator or an alert has said since entry `number`, if anything: a guard that made up its mind at that entry
    /// must not act on it.
    #[must_use]
    pub fn overtaken(&self, number: u64) -> Option<&Entry> {
        self.entries().iter().rev().take_while(|entry| entry.number > number).find(|entry| {
            let other = !matches!(entry.by, By::Guard(_)) || matches!(entry.what, What::Found { .. });
            other && !matches!(entry.what, What::Refused { .. } | What::Ended)
        })
    }

    /// The entry that has this key.
    #[must_use]
    pub fn keyed(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().rev().find(|entry| entry.key.as_deref() == Some(key))
    }

    /// Tries whether there is room for an entry.
    ///
    /// # Errors
    /// When there is none, or the folder cannot be written.
    pub fn check_room(&self) -> Result<(), LedgerError> {
        let write = || {
            let mut file = File::create(&self.room)?;
            file.write_all(&[b' '; ROOM])?;
            file.sync_data()?;
            OpenOptions::new().append(true).create(true).open(&self.path).map(drop)
        };
        let written = write().map_err(FileError::on("writing", &self.path));
        // It was only a trial.
        let _ = std::fs::remove_file(&self.room);
        Ok(written?)
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
        let number = self.numbered.max(self.last()).saturating_add(1);
        let entry = Entry { number, at_ms, by, what, reason, key };
        let end = if self.log.open { "\n" } else { "" };
        let line = format!("{end}{}\n", checked(&serde_json::to_string(&entry)?));
        let length = self.log.length;
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
            // What follows the last whole line was cut by a crash.
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
            if written.is_err() {
                // A part of a line would be left out by readers, too.
                let _ = file.set_len(length);
            }
            written
        };
        write().map_err(FileError::on("writing", &self.path))?;
        self.log.length += line.len() as u64;
        self.log.open = false;
        self.log.entries.push(entry);
        self.numbered = number;
        Ok(number)
    }
}

/// An entry's JSON with its checksum.
fn checked(json: &str) -> String {
    let open = json.strip_suffix('}').unwrap_or(json);
    format!("{open}{CHECK}{}\"}}", checksum(json.as_bytes()))
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(CHECK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The entry of a line; `None` when it is not one, or not the one that was written. Lines of earlier versions have no
/// checksum.
fn entry(line: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(line).ok()?;
    if let Some((open, check)) = text.rsplit_once(CHECK) {
        let check = check.strip_suffix("\"}")?;
        if check != checksum(format!("{open}}}").as_bytes()) {
            return None;
        }
    }
    serde_json::from_str(text).ok()
}
