//! The audit log as a file: one line of JSON for each entry, appended and synced under a lock.
//!
//! Complete lines are never removed. A line that a crash has cut short is ignored and overwritten. A complete line
//! whose checksum does not match (e.g. after a flipped bit) stays in the file, is skipped and reported, and the entries
//! after it count. A new entry's number is higher than any that is known to have been used, even if the file was lost:
//! otherwise the guard could take a new command for one that it has processed.

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::control_loop::STATUS_FILE;
use super::super::file::{self, FileError};
use super::{Actor, Entry, Event};

/// Longest wait for the lock. It is held while gateways are changed, which takes seconds at most.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two attempts to take the lock.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Disk space that an entry may need, in bytes.
const ENTRY_BYTES: usize = 16 * 1024;
/// The text before a line's checksum; `"}` follows it.
const CHECK: &str = ",\"check\":\"";
/// Length of the checksum, in bytes of the hash.
const CHECK_BYTES: usize = 4;

/// An operation on the audit log that failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program holds the lock for too long.
    #[error(
        "cannot lock {}: another program has held it for {LOCK_TIMEOUT:?}; stop that program if it hangs",
        .0.display()
    )]
    Busy(PathBuf),
    /// An entry cannot be serialized, which does not happen.
    #[error("cannot serialize an audit log entry")]
    Json(#[from] serde_json::Error),
}

/// The audit log in a folder.
#[derive(Debug, Clone)]
pub struct AuditLog {
    folder: PathBuf,
    entries: PathBuf,
    lock: PathBuf,
}

/// The contents of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditLogContents {
    /// The entries that can be read, in order.
    pub entries: Vec<Entry>,
    /// The lines that cannot be read.
    pub damaged: Vec<DamagedLine>,
    /// Bytes of the file up to the end of the last line.
    length: u64,
    /// The last line does not end with a line break.
    unterminated: bool,
}

/// A line that cannot be read or whose checksum does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedLine {
    /// Its position in the file, from 1.
    pub line: usize,
    /// Number of the last entry before it.
    pub after: u64,
}

impl AuditLogContents {
    /// Number of the last entry that can be read; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }

    /// A description of the lines that cannot be read; `None` if there are none.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let lines: Vec<String> = self.damaged.iter().take(10).map(|damage| damage.line.to_string()).collect();
        (!lines.is_empty()).then(|| {
            let more = if self.damaged.len() > lines.len() { ", …" } else { "" };
            format!("the audit log is damaged: line {}{more} cannot be read (it stays in the file)", lines.join(", "))
        })
    }

    /// Adds a line; returns `false` if a crash has cut it short.
    fn take(&mut self, line: &[u8], number: usize) -> bool {
        let whole = line.ends_with(b"\n");
        let last = self.last();
        match entry(line.trim_ascii_end()) {
            Some(entry) if entry.number > last => self.entries.push(entry),
            _ if !whole => return false,
            _ if line.trim_ascii().is_empty() => {}
            _ => self.damaged.push(DamagedLine { line: number, after: last }),
        }
        self.length += line.len() as u64;
        self.unterminated = !whole;
        true
    }

    /// The highest entry number known to be in use.
    fn highest_number(&self) -> u64 {
        let last = self.last();
        let lost = self.damaged.iter().filter(|damage| damage.after == last).count();
        last.saturating_add(lost as u64)
    }
}

impl AuditLog {
    /// The audit log of the guard's `folder`, which is created if necessary.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn in_folder(folder: &Path) -> Result<Self, AuditLogError> {
        std::fs::create_dir_all(folder).map_err(FileError::on("creating", folder))?;
        let file = |name| folder.join(name);
        Ok(Self { folder: folder.to_path_buf(), entries: file("audit_log.jsonl"), lock: file("audit_log.lock") })
    }

    /// All entries that can be read, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Vec<Entry>, AuditLogError> {
        Ok(self.contents()?.entries)
    }

    /// The entries and the lines that cannot be read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contents(&self) -> Result<AuditLogContents, AuditLogError> {
        let bytes = file::read_bytes(&self.entries)?.unwrap_or_default();
        let mut log = AuditLogContents::default();
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if !log.take(line, index + 1) {
                break;
            }
        }
        Ok(log)
    }

    /// Waits for the lock and holds it until the result is dropped.
    ///
    /// # Errors
    /// When the audit log cannot be locked or read.
    pub async fn lock(&self) -> Result<LockedAuditLog, AuditLogError> {
        let lock = self.open_lock().map_err(FileError::on("opening", &self.lock))?;
        let tries = LOCK_TIMEOUT.as_millis() / LOCK_RETRY.as_millis();
        for _ in 0..tries {
            match lock.try_lock() {
                Ok(()) => {
                    let log = self.contents()?;
                    let highest_number = log.highest_number().max(self.last_command());
                    let (path, probe) = (self.entries.clone(), self.folder.join("audit_log.probe"));
                    return Ok(LockedAuditLog { path, probe, log, highest_number, _lock: lock });
                }
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_RETRY).await,
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(FileError::on("locking", &self.lock)(error).into());
                }
            }
        }
        Err(AuditLogError::Busy(self.lock.clone()))
    }

    /// Opens the lock file. A file system that became read-only, e.g. after a disk fault, can still be locked.
    fn open_lock(&self) -> io::Result<File> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        open.or_else(|error| match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => File::open(&self.lock),
            _ => Err(error),
        })
    }

    /// Number of the last command that the guard has processed, from its report; 0 without a report.
    fn last_command(&self) -> u64 {
        #[derive(Deserialize)]
        struct LastReport {
            last_command: u64,
        }
        let text = file::read(&self.folder.join(STATUS_FILE)).ok().flatten();
        let report = text.and_then(|text| serde_json::from_str::<LastReport>(&text).ok());
        report.map_or(0, |report| report.last_command)
    }
}

/// The audit log with its lock held.
#[derive(Debug)]
pub struct LockedAuditLog {
    path: PathBuf,
    probe: PathBuf,
    log: AuditLogContents,
    highest_number: u64,
    _lock: File,
}

impl LockedAuditLog {
    /// All entries that can be read, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.log.entries
    }

    /// The entries and the lines that cannot be read.
    #[must_use]
    pub const fn contents(&self) -> &AuditLogContents {
        &self.log
    }

    /// Number of the last entry; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.log.last()
    }

    /// Makes new entries get numbers above `number`.
    pub fn reserve_numbers_up_to(&mut self, number: u64) {
        self.highest_number = self.highest_number.max(number);
    }

    /// The last action of an operator or an alert after entry `number`, if any: a guard that decided at that entry must
    /// not act on its decision.
    #[must_use]
    pub fn superseding_entry(&self, number: u64) -> Option<&Entry> {
        self.entries().iter().rev().take_while(|entry| entry.number > number).find(|entry| {
            let other = !matches!(entry.actor, Actor::Guard(_)) || matches!(entry.event, Event::ExternalChange { .. });
            other && !matches!(entry.event, Event::Rejected { .. } | Event::AlertResolved)
        })
    }

    /// The entry with this idempotency key.
    #[must_use]
    pub fn find_by_key(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().rev().find(|entry| entry.idempotency_key.as_deref() == Some(key))
    }

    /// Checks that there is disk space for another entry.
    ///
    /// # Errors
    /// When there is none, or the folder cannot be written.
    pub fn check_space(&self) -> Result<(), AuditLogError> {
        let write = || {
            let mut file = File::create(&self.probe)?;
            file.write_all(&[b' '; ENTRY_BYTES])?;
            file.sync_data()?;
            OpenOptions::new().append(true).create(true).open(&self.path).map(drop)
        };
        let written = write().map_err(FileError::on("writing", &self.path));
        // The file has served its purpose.
        let _ = std::fs::remove_file(&self.probe);
        Ok(written?)
    }

    /// Appends an entry and returns its number.
    ///
    /// # Errors
    /// When it cannot be written; the audit log is then unchanged.
    pub fn append(
        &mut self,
        at_ms: u64,
        actor: Actor,
        event: Event,
        reason: impl Into<String>,
    ) -> Result<u64, AuditLogError> {
        self.push(at_ms, actor, event, reason.into(), None)
    }

    /// Appends an entry with an idempotency key that [`LockedAuditLog::find_by_key`] has not found, and returns its
    /// number.
    ///
    /// # Errors
    /// When it cannot be written; the audit log is then unchanged.
    pub fn append_with_key(
        &mut self,
        at_ms: u64,
        actor: Actor,
        event: Event,
        reason: impl Into<String>,
        key: &str,
    ) -> Result<u64, AuditLogError> {
        self.push(at_ms, actor, event, reason.into(), Some(key.to_owned()))
    }

    fn push(
        &mut self,
        at_ms: u64,
        actor: Actor,
        event: Event,
        reason: String,
        key: Option<String>,
    ) -> Result<u64, AuditLogError> {
        let number = self.highest_number.max(self.last()).saturating_add(1);
        let entry = Entry { number, at_ms, actor, event, reason, idempotency_key: key };
        let end = if self.log.unterminated { "\n" } else { "" };
        let line = format!("{end}{}\n", checked(&serde_json::to_string(&entry)?));
        let length = self.log.length;
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
            // A crash has cut short what follows the last complete line.
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
            if written.is_err() {
                // Readers would ignore an incomplete line as well.
                let _ = file.set_len(length);
            }
            written
        };
        write().map_err(FileError::on("writing", &self.path))?;
        self.log.length += line.len() as u64;
        self.log.unterminated = false;
        self.log.entries.push(entry);
        self.highest_number = number;
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

/// The entry in a line; `None` when it cannot be parsed or its checksum does not match. A line without a checksum is
/// accepted.
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
