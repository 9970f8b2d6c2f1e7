//! The audit log as a file: one line of JSON for each entry, appended and synced under a lock.
//!
//! What a reader finds there is never thrown away. A line that a crash has cut is left out and written over; a whole line
//! that is not what was written (a flipped bit: each line ends with a checksum) stays in the file, is left out and
//! reported, and the entries after it count. Numbers go on above everything that is known to have been numbered, also
//! when the file was lost, so that an order is never taken for one that was carried out long ago.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
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
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        let lock = open.map_err(FileError::on("opening", &self.lock))?;
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

    /// Eight entries, and the lines of their file.
    async fn eight(ledger: &Ledger, folder: &Path) -> Vec<u8> {
        let mut held = ledger.hold().await.unwrap();
        for at in 1..=8 {
            held.append(at, human(), set("10"), "as planned").unwrap();
        }
        std::fs::read(folder.join("ledger.jsonl")).unwrap()
    }

    #[tokio::test]
    async fn case_6b_no_flipped_bit_removes_an_entry_or_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let sound = eight(&ledger, folder.path()).await;
        let first = sound.iter().position(|&byte| byte == b'\n').unwrap();
        let path = folder.path().join("ledger.jsonl");
        for at in 0..=first {
            for bit in [0x01, 0x04, 0x80] {
                let mut bytes = sound.clone();
                bytes[at] ^= bit;
                std::fs::write(&path, &bytes).unwrap();
                let number = ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap();
                let log = ledger.log().unwrap();
                assert_eq!(number, 9, "byte {at}, bit {bit}");
                assert!(std::fs::read(&path).unwrap().starts_with(&bytes), "byte {at}: nothing is thrown away");
                let whole = log.entries.len() == 9 && log.entries[0].what == set("10") && log.entries[0].number == 1;
                assert!(whole || log.damage().is_some_and(|words| words.contains("line 1")), "byte {at}, bit {bit}");
                assert!(log.entries.len() >= 7 && log.last() == 9, "byte {at}, bit {bit}: {}", log.entries.len());
            }
        }
    }

    #[tokio::test]
    async fn case_6b_after_the_log_was_lost_numbers_go_on_above_what_was_carried_out() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        eight(&ledger, folder.path()).await;
        std::fs::write(folder.path().join(STATUS_FILE), r#"{"orders_done":8,"at_ms":5}"#).unwrap();
        std::fs::remove_file(folder.path().join("ledger.jsonl")).unwrap();
        assert_eq!(ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap(), 9);
    }

    #[tokio::test]
    async fn case_6c_bytes_that_are_not_text_are_a_damaged_line() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let sound = eight(&ledger, folder.path()).await;
        std::fs::write(folder.path().join("ledger.jsonl"), [&sound[..], b"\xff\xfe\n"].concat()).unwrap();
        let mut held = ledger.hold().await.unwrap();
        assert_eq!(held.log().damaged, [Damage { line: 9, after: 8 }]);
        assert_eq!(held.append(9, human(), What::Pause, "").unwrap(), 10, "the line may have been entry 9");
        assert_eq!(ledger.read().unwrap().len(), 9);
    }

    #[tokio::test]
    async fn an_entry_without_its_line_end_counts_and_the_next_one_is_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let sound = eight(&ledger, folder.path()).await;
        std::fs::write(folder.path().join("ledger.jsonl"), sound.trim_ascii_end()).unwrap();
        assert_eq!(ledger.hold().await.unwrap().append(9, human(), What::Pause, "").unwrap(), 9);
        assert_eq!(ledger.read().unwrap().len(), 9);
    }
}
