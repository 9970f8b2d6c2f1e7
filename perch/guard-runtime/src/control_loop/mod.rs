//! The control loop around the core: reads the system, lets the core decide, stores the state and acts.
//!
//! One evaluation ([`ControlLoop::evaluate`]):
//! 1. lock the audit log, acquire or renew the lease, read the commands of operators and alerts;
//! 2. without the lease, stop here: another guard acts;
//! 3. read the system, apply the commands, let the core decide;
//! 4. store the state, *then* act: after a crash in between, the pending share is the one that may have been set;
//! 5. act under the audit log's lock, unless the lease is lost or an operator has acted meanwhile.
//!
//! If the audit log cannot be read, the evaluation ends without acting and the next one tries again. If the folder
//! cannot be written (a full disk), the guard continues from memory. It still rolls back where it must, which needs no
//! file, but it does not advance, since it could not record that. Entries that it could not write it writes when there
//! is space again.

mod commands;
#[cfg(test)]
mod fault_injection;
mod recovery;
mod report;
mod stored_state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::share::Share;

pub use report::{EvaluationReport, STATUS_FILE};

use clients::error_chain;
use guard::Guard;
use guard::decision::{Action, Decision};
use guard::plan::Plan;
use guard::snapshot::SystemSnapshot;

use super::audit_log::{Actor, AuditLog, AuditLogError, Entry, Event, LockedAuditLog};
use super::clock::now_ms;
use super::file::{self, FileError};
use super::lease::LeaseFile;
use super::sink::Sink;
use super::source::totals::CounterTotals;
use super::source::{Source, SourceReading, series};

/// Length of a lease in evaluation intervals, so that one slow evaluation does not lose it.
const LEASE_INTERVALS: u32 = 4;
/// Most entries that are kept while the audit log cannot be written.
const MAX_PENDING_ENTRIES: usize = 100;

/// An evaluation that could not be finished. The share was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlLoopError {
    /// The audit log cannot be used.
    #[error("cannot use the audit log")]
    AuditLog(#[from] AuditLogError),
    /// Another file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state cannot be serialized, which does not happen.
    #[error("cannot serialize the guard's state")]
    Json(#[from] serde_json::Error),
    /// The random number that identifies this guard cannot be drawn.
    #[error("cannot draw the random number that identifies this guard")]
    Random(#[from] std::io::Error),
}

/// A guard with its source, sink and files.
#[derive(Debug)]
pub struct ControlLoop<S, K> {
    source: S,
    sink: K,
    audit_log: AuditLog,
    lease: LeaseFile,
    folder: PathBuf,
    name: String,
    interval: Duration,
    default_plan: Plan,
    guard: Guard,
    totals: CounterTotals,
    leading: bool,
    /// Entries that could not be written yet, the oldest first.
    pending_entries: Vec<PendingEntry>,
}

/// The guard's relation to the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseStatus {
    /// This guard holds the lease.
    Held,
    /// Another guard holds the lease.
    HeldByOther,
    /// The lease cannot be written, and no other guard is known to hold it. That is enough to roll back, which two
    /// guards may do at once without harm.
    NotWritable,
}

/// An entry that waits to be written.
#[derive(Debug)]
struct PendingEntry {
    at_ms: u64,
    event: Event,
    reason: String,
}

impl<S: Source, K: Sink> ControlLoop<S, K> {
    /// A guard that keeps its files in `folder` and evaluates every `interval`. It judges by `plan` until a rollout is
    /// started; a stored rollout continues with its own plan.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(
        source: S,
        sink: K,
        folder: &Path,
        name: impl Into<String>,
        interval: Duration,
        plan: Plan,
    ) -> Result<Self, ControlLoopError> {
        Ok(Self {
            source,
            sink,
            audit_log: AuditLog::in_folder(folder)?,
            lease: LeaseFile::in_folder(folder, clients::random_hex()?),
            folder: folder.to_path_buf(),
            name: name.into(),
            interval,
            guard: Guard::new(plan.clone()),
            default_plan: plan,
            totals: CounterTotals::default(),
            leading: false,
            pending_entries: Vec::new(),
        })
    }

    /// The core.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Evaluates every interval until `stop` is ready, passes each result to `report`, and releases the lease at the
    /// end.
    ///
    /// # Errors
    /// Only when the lease cannot be released; a failed evaluation is reported and tried again.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        mut report: impl FnMut(Result<&EvaluationReport, &ControlLoopError>),
    ) -> Result<(), ControlLoopError> {
        let mut stop = std::pin::pin!(stop);
        let mut clock = tokio::time::interval(self.interval);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = clock.tick() => {}
            }
            report(self.evaluate(now_ms()).await.as_ref());
        }
        let _lock = self.audit_log.lock().await?;
        self.lease.release(&self.name, now_ms())?;
        Ok(())
    }

    /// One evaluation.
    ///
    /// # Errors
    /// When the audit log cannot be read. The share was not changed then.
    pub async fn evaluate(&mut self, now_ms: u64) -> Result<EvaluationReport, ControlLoopError> {
        let mut problems = Vec::new();
        let log = {
            let held = self.audit_log.lock().await?;
            if self.acquire_lease(now_ms, &mut problems) == LeaseStatus::HeldByOther {
                self.leading = false;
                let leader = self.lease.read().ok().flatten().map(|lease| lease.holder);
                let (guard, interval_ms) = (self.name.clone(), self.interval_ms());
                return Ok(EvaluationReport {
                    at_ms: now_ms,
                    interval_ms,
                    guard,
                    leader,
                    ..EvaluationReport::default()
                });
            }
            held.contents().clone()
        };
        if !self.leading {
            self.load(now_ms, &log.entries, &mut problems)?;
            self.leading = true;
        }
        problems.extend(log.damage());
        let read = self.source.read(self.guard.evidence_since()).await;
        let snapshot = self.snapshot(now_ms, read, &mut problems);

        let was = (self.guard.state().paused.clone(), self.guard.state().frozen.clone());
        let (expected, step) = (self.guard.state().expected, self.guard.state().since_ms);
        let pending = self.guard.state().pending;
        self.guard.note_share(now_ms, &snapshot);
        let now_held = self.guard.state().expected;
        // A share that was set before and could not be confirmed then, or not be recorded before the guard was stopped.
        let confirmed = now_held.filter(|_| now_held == pending && now_held != expected);
        let changed_externally =
            self.guard.state().paused.as_ref().filter(|stop| was.0.as_ref() != Some(*stop)).is_some();
        let mut events = self.apply_commands(now_ms, &log);
        let decision = self.guard.evaluate(now_ms, &snapshot);
        if self.guard.state().since_ms != step {
            self.totals.begin_step(now_ms);
        }
        let stored = self.try_store(&mut problems)?;

        if changed_externally {
            let text = |share: Option<Share>| share.map_or_else(String::new, Share::to_runtime);
            let change = Event::ExternalChange { from: text(expected), to: text(self.guard.state().expected) };
            events.push((change, "changed without an entry in the audit log".to_owned()));
        }
        if let Some(stop) = self.guard.state().frozen.as_ref().filter(|_| was.1.is_none()) {
            events.push((Event::Frozen, stop.reason.clone()));
        }
        if let Some(share) = confirmed.filter(|_| !last_entry_sets(&log.entries, now_held)) {
            let reason = self.guard.state().latched.as_ref().map(|stop| stop.reason.clone());
            let set = Event::ShareSet { from: expected.map(Share::to_runtime), to: share.to_runtime() };
            events.push((set, reason.unwrap_or_else(|| "decided in an earlier evaluation".to_owned())));
        }
        for (event, reason) in events {
            self.queue_entry(now_ms, event, reason, &mut problems);
        }
        let carried_out = self.act(now_ms, &decision, &snapshot, stored, &mut problems).await?;
        let report = self.report(now_ms, decision, carried_out, problems);
        self.publish(report)
    }

    /// Acquires or renews the lease.
    fn acquire_lease(&mut self, now_ms: u64, problems: &mut Vec<String>) -> LeaseStatus {
        match self.lease.acquire(&self.name, now_ms, self.lease_ms()) {
            Ok(true) => LeaseStatus::Held,
            Ok(false) => LeaseStatus::HeldByOther,
            Err(error) => {
                note(problems, error_chain(&error));
                LeaseStatus::NotWritable
            }
        }
    }

    /// Builds the snapshot that the core judges from a reading of the source.
    fn snapshot(&mut self, now_ms: u64, read: SourceReading, problems: &mut Vec<String>) -> SystemSnapshot {
        let mut data_gaps = read.data_gaps;
        data_gaps.extend(self.totals.update(now_ms, &read.samples, series::counter_labels));
        problems.extend(read.problems);
        problems.extend(data_gaps.iter().cloned());
        let budget = self.guard.plan().latency.map(|latency| latency.budget_seconds);
        series::snapshot(read.share, &read.samples, &self.totals, read.evidence, budget, data_gaps)
    }

    /// Stores the state; returns `false` if the folder cannot be written.
    fn try_store(&self, problems: &mut Vec<String>) -> Result<bool, ControlLoopError> {
        match self.store() {
            Ok(()) => Ok(true),
            Err(ControlLoopError::File(error)) => {
                note(problems, error_chain(&error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the report to the folder and returns it, also if it cannot be written.
    fn publish(&self, mut report: EvaluationReport) -> Result<EvaluationReport, ControlLoopError> {
        let text = serde_json::to_string(&report)?;
        if let Err(error) = file::replace(&self.folder.join(STATUS_FILE), &text) {
            note(&mut report.problems, error_chain(&error));
        }
        Ok(report)
    }

    /// Queues an entry for the audit log.
    fn queue_entry(&mut self, at_ms: u64, event: Event, reason: String, problems: &mut Vec<String>) {
        if self.pending_entries.len() < MAX_PENDING_ENTRIES {
            self.pending_entries.push(PendingEntry { at_ms, event, reason });
        } else {
            note(
                problems,
                format!("dropped an audit log entry, since {MAX_PENDING_ENTRIES} wait to be written: {reason}"),
            );
        }
    }

    /// Writes the pending entries to the audit log; returns `false` if it cannot be written.
    fn write_pending_entries(&mut self, held: &mut LockedAuditLog, problems: &mut Vec<String>) -> bool {
        held.reserve_numbers_up_to(self.guard.state().last_command);
        while let Some(pending) = self.pending_entries.first() {
            // The change may have been recorded since the audit log was read.
            let known = matches!(pending.event, Event::ExternalChange { .. })
                && last_entry_sets(held.entries(), self.guard.state().expected);
            if !known {
                let by = Actor::Guard(self.name.clone());
                if let Err(error) = held.append(pending.at_ms, by, pending.event.clone(), pending.reason.clone()) {
                    note(problems, error_chain(&error));
                    return false;
                }
            }
            self.pending_entries.remove(0);
        }
        true
    }

    /// Carries out a decision and records it. The guard does not advance unless its state was `stored`.
    async fn act(
        &mut self,
        now_ms: u64,
        decision: &Decision,
        snapshot: &SystemSnapshot,
        stored: bool,
        problems: &mut Vec<String>,
    ) -> Result<Option<bool>, ControlLoopError> {
        let wanted = decision.set_share.as_deref().and_then(Share::from_runtime);
        if wanted.is_none() && self.pending_entries.is_empty() {
            return Ok(None);
        }
        let mut held = self.audit_log.lock().await?;
        let written = self.write_pending_entries(&mut held, problems);
        let Some(share) = wanted else { return Ok(None) };
        let leads = self.acquire_lease(now_ms, problems);
        if leads == LeaseStatus::HeldByOther {
            problems.push("the share was not changed: another guard has acquired the lease meanwhile".to_owned());
            return Ok(Some(false));
        }
        if let Some(entry) = held.superseding_entry(self.guard.state().last_command) {
            let reason = format!("superseded by {} meanwhile (audit log entry {})", entry.actor, entry.number);
            self.queue_entry(now_ms, Event::Rejected { requested: share.to_runtime() }, reason.clone(), problems);
            self.write_pending_entries(&mut held, problems);
            problems.push(format!("the share was not changed: {reason}"));
            return Ok(Some(false));
        }
        let written = stored && written && leads == LeaseStatus::Held;
        let may_act = decision.action == Action::Rollback || (written && self.has_space(&held, problems));
        if !may_act {
            problems.push("the rollout does not advance while the guard's folder cannot be written".to_owned());
            return Ok(Some(false));
        }
        if let Err(error) = self.sink.set(share).await {
            problems.push(error_chain(&error));
            return Ok(Some(false));
        }
        let from = self.guard.state().expected.map(Share::to_runtime);
        let set = Event::ShareSet { from, to: share.to_runtime() };
        self.queue_entry(now_ms, set, decision.reasons.join("; "), problems);
        self.write_pending_entries(&mut held, problems);
        self.guard.applied(now_ms, snapshot);
        self.totals.begin_step(now_ms);
        self.try_store(problems)?;
        Ok(Some(true))
    }

    fn has_space(&self, held: &LockedAuditLog, problems: &mut Vec<String>) -> bool {
        held.check_space().inspect_err(|error| note(problems, error_chain(error))).is_ok()
    }

    fn report(
        &self,
        now_ms: u64,
        decision: Decision,
        carried_out: Option<bool>,
        problems: Vec<String>,
    ) -> EvaluationReport {
        let state = self.guard.state();
        EvaluationReport {
            at_ms: now_ms,
            interval_ms: self.interval_ms(),
            guard: self.name.clone(),
            leading: true,
            leader: None,
            phase: Some(state.phase),
            since_ms: state.since_ms,
            share: self.guard.share().map(Share::fraction),
            next_share: self.guard.next_step().map(|step| step.share.to_runtime()),
            plan: Some(self.guard.plan().raw().clone()),
            last_command: state.last_command,
            paused: state.paused.clone(),
            latched: state.latched.clone(),
            frozen: state.frozen.clone(),
            decision: Some(decision),
            carried_out,
            problems,
        }
    }

    fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX)
    }

    fn lease_ms(&self) -> u64 {
        self.interval_ms().saturating_mul(u64::from(LEASE_INTERVALS)).max(1_000)
    }
}

/// Returns `true` if the last entry that set the share set it to `share`.
fn last_entry_sets(entries: &[Entry], share: Option<Share>) -> bool {
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::ShareSet { to, .. } => Some(to.as_str()),
        _ => None,
    });
    last.and_then(Share::from_runtime).is_some_and(|held| Some(held) == share)
}

/// Adds a problem unless it is listed already: one full disk fails several files.
fn note(problems: &mut Vec<String>, problem: String) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}
