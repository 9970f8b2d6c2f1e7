//! How the guard stands, from its folder alone: for `perch status`, and for orders that wait to be taken.
//!
//! A report that is old is not news: a guard that is silent is said to be silent, whatever it said last.

use std::path::Path;

use contract::share::Share;
use guard::state::Phase;
use guard::words::span;
use serde::Serialize;

use super::file::{self, FileError};
use super::ledger::{By, Entry, Ledger, LedgerError, What};
use super::shell::{Report, STATUS_FILE};

/// A guard that has not reported for so many of its looks is silent.
const LOOKS: u64 = 4;
/// But not before so long, in milliseconds.
const AT_LEAST_MS: u64 = 30_000;

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The report.
    #[error("the guard's report")]
    Report(#[from] FileError),
    /// The ledger.
    #[error("the audit log")]
    Ledger(#[from] LedgerError),
}

/// How the guard stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// What it last said; `None` when no guard ever ran here.
    pub report: Option<Report>,
    /// How long ago, in milliseconds.
    pub age_ms: Option<u64>,
    /// Has it been too long?
    pub silent: bool,
    /// The last change of the share that anybody wrote down.
    pub last_change: Option<Entry>,
    /// Orders that no guard has taken yet.
    pub waiting: Vec<Entry>,
    /// What is wrong with the audit log, in words.
    pub damage: Option<String>,
}

impl Standing {
    /// Reads the guard's `folder`.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn read(folder: &Path, now_ms: u64) -> Result<Self, StandingError> {
        let text = file::read(&folder.join(STATUS_FILE))?;
        let report: Option<Report> = text.and_then(|text| serde_json::from_str(&text).ok());
        let log = Ledger::in_folder(folder)?.log()?;
        let damage = log.damage();
        let entries = log.entries;
        let age_ms = report.as_ref().map(|report| now_ms.saturating_sub(report.at_ms));
        let patience = report.as_ref().map_or(0, |report| (report.interval_ms * LOOKS).max(AT_LEAST_MS));
        let done = report.as_ref().map_or(0, |report| report.orders_done);
        let changes = |entry: &&Entry| matches!(entry.what, What::Set { .. } | What::Found { .. });
        let last_change = entries.iter().rev().find(changes).cloned();
        let waiting = entries.into_iter().filter(|entry| entry.number > done && entry.is_order()).collect();
        Ok(Self { silent: age_ms.is_some_and(|age| age > patience), report, age_ms, last_change, waiting, damage })
    }

    /// What became of the order with this number: `None` while no guard has taken it.
    #[must_use]
    pub fn taken(&self, number: u64) -> bool {
        self.report.as_ref().is_some_and(|report| report.orders_done >= number)
    }

    /// In words, each with what it is about.
    #[must_use]
    pub fn words(&self, now_ms: u64) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let ago = |at_ms: u64| format!("{} ago", span(now_ms.saturating_sub(at_ms)));
        match &self.report {
            None => lines.push(("guard", "none has ever run here".to_owned())),
            Some(report) if self.silent => {
                lines.push(("guard", format!("silent: it last spoke {}; it then said:", ago(report.at_ms))));
                lines.push(("", report.line()));
            }
            Some(report) => lines.push(("guard", report.line())),
        }
        if let Some(report) = &self.report {
            lines.extend(ramp(report).map(|text| ("ramp", text)));
            for (label, stop) in
                [("paused", &report.paused), ("rolled back", &report.latched), ("frozen", &report.frozen)]
            {
                lines.extend(stop.as_ref().map(|stop| (label, format!("{}: {}", ago(stop.at_ms), stop.reason))));
            }
            lines.extend(report.troubles.iter().map(|trouble| ("trouble", trouble.clone())));
        }
        let reported = |damage: &&String| self.report.as_ref().is_some_and(|report| report.troubles.contains(damage));
        lines.extend(self.damage.iter().filter(|damage| !reported(damage)).map(|damage| ("trouble", damage.clone())));
        for entry in &self.waiting {
            lines.push(("waiting", format!("{} ({}): no guard has taken it yet", entry.words(), ago(entry.at_ms))));
        }
        if let Some(entry) = &self.last_change {
            lines.push(("last change", format!("{} ({})", entry.words(), ago(entry.at_ms))));
        }
        lines
    }
}

fn ramp(report: &Report) -> Option<String> {
    match report.phase? {
        Phase::Watching => Some("none is under way".to_owned()),
        Phase::Baseline => Some("learning the baseline at 0%".to_owned()),
        Phase::Step => {
            let next = report.next.as_deref().and_then(Share::from_runtime);
            Some(next.map_or_else(|| "at its last step".to_owned(), |share| format!("under way, next is {share}")))
        }
    }
}

impl Entry {
    /// Is it an order to the guard?
    #[must_use]
    pub const fn is_order(&self) -> bool {
        matches!(
            self.what,
            What::Start { .. } | What::Pause | What::Resume | What::Approve | What::Abort | What::Rollback
        )
    }

    /// Who said or did what, and why.
    #[must_use]
    pub fn words(&self) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{} {}{reason}", self.by, self.what.words())
    }
}

impl What {
    /// What was said or done.
    #[must_use]
    pub fn words(&self) -> String {
        let share = |text: &str| Share::from_runtime(text).map_or_else(|| text.to_owned(), |share| share.to_string());
        match self {
            Self::Set { from: Some(from), to } => format!("set the share from {} to {}", share(from), share(to)),
            Self::Set { from: None, to } => format!("set the share to {}", share(to)),
            Self::Found { from, to } => format!("found the share changed from {} to {}", share(from), share(to)),
            Self::Beta { to, .. } => format!("set the beta cohort's share to {}", share(to)),
            Self::Froze => "froze the ramp".to_owned(),
            Self::Lost { last } => format!("found the audit log without entries that it had (up to {last})"),
            Self::Ended => "ended".to_owned(),
            Self::Start { .. } => "started a ramp".to_owned(),
            Self::Pause => "paused the guard".to_owned(),
            Self::Resume => "let the guard go on".to_owned(),
            Self::Approve => "approved the next step".to_owned(),
            Self::Abort => "ended the ramp".to_owned(),
            Self::Rollback => "rolled back".to_owned(),
            Self::Refused { wanted } => format!("did not get its way ({})", share(wanted)),
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Human(name) => f.write_str(name),
            Self::Guard(name) => write!(f, "guard {name}"),
            Self::Alert(name) => write!(f, "alert {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn folder_with(report: Option<Report>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        if let Some(report) = report {
            let text = serde_json::to_string(&report).unwrap();
            std::fs::write(folder.path().join(STATUS_FILE), text).unwrap();
        }
        folder
    }

    fn report() -> Report {
        Report { at_ms: 10 * MINUTE, interval_ms: 5_000, leading: true, orders_done: 1, ..Report::default() }
    }

    fn text(standing: &Standing, now_ms: u64) -> String {
        standing.words(now_ms).iter().map(|(label, line)| format!("{label} {line}\n")).collect()
    }

    #[test]
    fn a_guard_that_never_ran_and_one_that_fell_silent_are_told_apart() {
        let folder = folder_with(None);
        assert!(text(&Standing::read(folder.path(), 0).unwrap(), 0).contains("none has ever run"));
        let folder = folder_with(Some(report()));
        let soon = 10 * MINUTE + 10_000;
        assert!(!Standing::read(folder.path(), soon).unwrap().silent);
        let late = Standing::read(folder.path(), 15 * MINUTE).unwrap();
        assert!(late.silent && text(&late, 15 * MINUTE).contains("silent: it last spoke 5 min ago"));
    }

    #[tokio::test]
    async fn a_rollback_without_a_guard_shows_with_its_reason() {
        let folder = folder_with(None);
        let ledger = Ledger::in_folder(folder.path()).unwrap();
        let ada = || By::Human("ada".into());
        ledger.hold().await.unwrap().append(MINUTE, ada(), What::Pause, "lunch").unwrap();
        // The guard has taken it.
        std::fs::write(folder.path().join(STATUS_FILE), serde_json::to_string(&report()).unwrap()).unwrap();
        let mut held = ledger.hold().await.unwrap();
        let number = held.append(11 * MINUTE, ada(), What::Rollback, "wrong labels").unwrap();
        let set = What::Set { from: Some("10".into()), to: "0".into() };
        held.append(11 * MINUTE, ada(), set, "wrong labels").unwrap();
        let standing = Standing::read(folder.path(), 12 * MINUTE).unwrap();
        assert!(!standing.taken(number));
        let text = text(&standing, 12 * MINUTE);
        assert!(text.contains("waiting ada rolled back: wrong labels (60 s ago): no guard has taken it yet"), "{text}");
        assert!(text.contains("last change ada set the share from 10% to 0%: wrong labels"), "{text}");
        assert!(!text.contains("lunch"), "{text}");
    }
}
