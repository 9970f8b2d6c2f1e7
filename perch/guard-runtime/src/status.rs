//! The guard's status, read from its folder alone: for `perch status`, and for commands that wait for the guard.
//!
//! A guard whose last report is too old is reported as silent, whatever the report contains.

use std::path::Path;

use contract::share::Share;
use guard::format::span;
use guard::state::Phase;
use serde::Serialize;

use super::audit_log::{Actor, AuditLog, AuditLogError, BETA, Entry, Event, ROLLBACK};
use super::control_loop::{EvaluationReport, STATUS_FILE};
use super::file::{self, FileError};

/// A guard that has not reported for this many evaluation intervals is silent.
const SILENT_INTERVALS: u64 = 4;
/// Shortest time without a report after which a guard is silent, in milliseconds.
const SILENT_AT_LEAST_MS: u64 = 30_000;

/// A guard's folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GuardStatusError {
    /// The guard's last report cannot be read.
    #[error("cannot read the guard's last report")]
    Report(#[from] FileError),
    /// The audit log cannot be read.
    #[error("cannot read the audit log")]
    AuditLog(#[from] AuditLogError),
}

/// The guard's status.
#[derive(Debug, Clone, Serialize)]
pub struct GuardStatus {
    /// The guard's last report; `None` when no guard has ever run on this folder.
    pub report: Option<EvaluationReport>,
    /// Age of that report, in milliseconds.
    pub age_ms: Option<u64>,
    /// The report is older than a running guard's would be.
    pub silent: bool,
    /// The last change of the share in the audit log.
    pub last_change: Option<Entry>,
    /// Commands that no guard has processed yet.
    pub pending_commands: Vec<Entry>,
    /// Damage of the audit log, if any.
    pub damage: Option<String>,
}

impl GuardStatus {
    /// Reads the status from the guard's `folder`.
    ///
    /// # Errors
    /// When a file exists but cannot be read.
    pub fn read(folder: &Path, now_ms: u64) -> Result<Self, GuardStatusError> {
        let text = file::read(&folder.join(STATUS_FILE))?;
        let report: Option<EvaluationReport> = text.and_then(|text| serde_json::from_str(&text).ok());
        let log = AuditLog::in_folder(folder)?.contents()?;
        let damage = log.damage();
        let entries = log.entries;
        let age_ms = report.as_ref().map(|report| now_ms.saturating_sub(report.at_ms));
        let patience =
            report.as_ref().map_or(0, |report| (report.interval_ms * SILENT_INTERVALS).max(SILENT_AT_LEAST_MS));
        let done = report.as_ref().map_or(0, |report| report.last_command);
        let changes = |entry: &&Entry| matches!(entry.event, Event::ShareSet { .. } | Event::ExternalChange { .. });
        let last_change = entries.iter().rev().find(changes).cloned();
        let pending_commands = entries.into_iter().filter(|entry| entry.number > done && entry.is_command()).collect();
        Ok(Self {
            silent: age_ms.is_some_and(|age| age > patience),
            report,
            age_ms,
            last_change,
            pending_commands,
            damage,
        })
    }

    /// Returns `true` if a guard has processed the command in entry `number`.
    #[must_use]
    pub fn is_processed(&self, number: u64) -> bool {
        self.report.as_ref().is_some_and(|report| report.last_command >= number)
    }

    /// The status as lines of text, each with its label.
    #[must_use]
    pub fn lines(&self, now_ms: u64) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let ago = |at_ms: u64| format!("{} ago", span(now_ms.saturating_sub(at_ms)));
        match &self.report {
            None => lines.push(("guard", "no guard has ever run on this folder".to_owned())),
            Some(report) if self.silent => {
                lines.push(("guard", format!("silent for {}", span(now_ms.saturating_sub(report.at_ms)))));
                lines.push(("last report", report.line()));
            }
            Some(report) => lines.push(("guard", report.line())),
        }
        if let Some(report) = &self.report {
            lines.extend(rollout(report).map(|text| ("rollout", text)));
            for (label, stop) in
                [("paused", &report.paused), ("rolled back", &report.latched), ("frozen", &report.frozen)]
            {
                lines.extend(stop.as_ref().map(|stop| (label, format!("{}: {}", ago(stop.at_ms), stop.reason))));
            }
            lines.extend(report.problems.iter().map(|problem| ("problem", problem.clone())));
        }
        let reported = |damage: &&String| self.report.as_ref().is_some_and(|report| report.problems.contains(damage));
        lines.extend(self.damage.iter().filter(|damage| !reported(damage)).map(|damage| ("problem", damage.clone())));
        for entry in &self.pending_commands {
            lines.push((
                "waiting",
                format!("{} ({}): no guard has processed it yet", entry.describe(), ago(entry.at_ms)),
            ));
        }
        if let Some(entry) = &self.last_change {
            lines.push(("last change", format!("{} ({})", entry.describe(), ago(entry.at_ms))));
        }
        lines
    }
}

fn rollout(report: &EvaluationReport) -> Option<String> {
    match report.phase? {
        Phase::Watching => Some("none in progress".to_owned()),
        Phase::Baseline => Some("measuring the agreement at 0%".to_owned()),
        Phase::Step => {
            let next = report.next_share.as_deref().and_then(Share::from_runtime);
            Some(next.map_or_else(|| "at its last step".to_owned(), |share| format!("in progress, next step {share}")))
        }
    }
}

impl Entry {
    /// Returns `true` if the entry is a command to the guard.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(
            self.event,
            Event::Start { .. } | Event::Pause | Event::Resume | Event::Approve | Event::Abort | Event::Rollback
        )
    }

    /// The entry as a sentence: actor, event and reason.
    #[must_use]
    pub fn describe(&self) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{} {}{reason}", self.actor, self.event.describe())
    }
}

impl Event {
    /// The event as the predicate of a sentence, after its actor.
    #[must_use]
    pub fn describe(&self) -> String {
        let share = |text: &str| Share::from_runtime(text).map_or_else(|| text.to_owned(), |share| share.to_string());
        match self {
            Self::ShareSet { from: Some(from), to } => format!("set the share from {} to {}", share(from), share(to)),
            Self::ShareSet { from: None, to } => format!("set the share to {}", share(to)),
            Self::ExternalChange { from, to } => {
                format!("found that the share was changed from {} to {}", share(from), share(to))
            }
            Self::BetaShareSet { to, .. } => format!("set the beta cohort's share to {}", share(to)),
            Self::Frozen => "froze the rollout".to_owned(),
            Self::EntriesLost { last } => format!("found that entries up to {last} are missing from the audit log"),
            Self::AlertResolved => "resolved".to_owned(),
            Self::Start { .. } => "started a rollout".to_owned(),
            Self::Pause => "paused the guard".to_owned(),
            Self::Resume => "resumed the guard".to_owned(),
            Self::Approve => "approved leaving the current step".to_owned(),
            Self::Abort => "ended the rollout".to_owned(),
            Self::Rollback => "rolled back".to_owned(),
            Self::Rejected { requested } => match (Share::from_runtime(requested), requested.strip_prefix(BETA)) {
                (Some(to), _) => format!("could not set the share to {to}"),
                (None, Some(to)) => format!("could not set the beta cohort's share to {}", share(to)),
                (None, None) if requested == ROLLBACK => "could not roll back to 0%".to_owned(),
                (None, None) => format!("rejected {requested}"),
            },
        }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator(name) => f.write_str(name),
            Self::Guard(name) => write!(f, "guard {name}"),
            Self::Alert(name) => write!(f, "alert {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn folder_with(report: Option<EvaluationReport>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        if let Some(report) = report {
            let text = serde_json::to_string(&report).unwrap();
            std::fs::write(folder.path().join(STATUS_FILE), text).unwrap();
        }
        folder
    }

    fn report() -> EvaluationReport {
        EvaluationReport {
            at_ms: 10 * MINUTE,
            interval_ms: 5_000,
            leading: true,
            last_command: 1,
            ..EvaluationReport::default()
        }
    }

    fn text(status: &GuardStatus, now_ms: u64) -> String {
        status.lines(now_ms).iter().map(|(label, line)| format!("{label} {line}\n")).collect()
    }

    #[test]
    fn a_guard_that_never_ran_and_one_that_fell_silent_are_distinguished() {
        let folder = folder_with(None);
        assert!(text(&GuardStatus::read(folder.path(), 0).unwrap(), 0).contains("no guard has ever run"));
        let folder = folder_with(Some(report()));
        let soon = 10 * MINUTE + 10_000;
        assert!(!GuardStatus::read(folder.path(), soon).unwrap().silent);
        let late = GuardStatus::read(folder.path(), 15 * MINUTE).unwrap();
        assert!(late.silent && text(&late, 15 * MINUTE).contains("guard silent for 5 min\nlast report "));
    }

    #[test]
    fn a_rejection_says_what_its_actor_did_not_do() {
        let describe = |requested: &str| Event::Rejected { requested: requested.to_owned() }.describe();
        assert_eq!(describe("entry 12"), "rejected entry 12");
        assert_eq!(describe("20"), "could not set the share to 20%");
        assert_eq!(describe("beta 20"), "could not set the beta cohort's share to 20%");
        assert_eq!(describe(ROLLBACK), "could not roll back to 0%");
    }

    #[tokio::test]
    async fn a_rollback_without_a_guard_shows_with_its_reason() {
        let folder = folder_with(None);
        let audit_log = AuditLog::in_folder(folder.path()).unwrap();
        let ada = || Actor::Operator("ada".into());
        audit_log.lock().await.unwrap().append(MINUTE, ada(), Event::Pause, "lunch").unwrap();
        // The guard has processed it.
        std::fs::write(folder.path().join(STATUS_FILE), serde_json::to_string(&report()).unwrap()).unwrap();
        let mut held = audit_log.lock().await.unwrap();
        let number = held.append(11 * MINUTE, ada(), Event::Rollback, "wrong labels").unwrap();
        let set = Event::ShareSet { from: Some("10".into()), to: "0".into() };
        held.append(11 * MINUTE, ada(), set, "wrong labels").unwrap();
        let status = GuardStatus::read(folder.path(), 12 * MINUTE).unwrap();
        assert!(!status.is_processed(number));
        let text = text(&status, 12 * MINUTE);
        assert!(
            text.contains("waiting ada rolled back: wrong labels (60 s ago): no guard has processed it yet"),
            "{text}"
        );
        assert!(text.contains("last change ada set the share from 10% to 0%: wrong labels"), "{text}");
        assert!(!text.contains("lunch"), "{text}");
    }
}
