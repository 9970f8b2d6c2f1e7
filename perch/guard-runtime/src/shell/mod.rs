//! The thin shell around the core: reads, lets the core judge, carries out, stores.
//!
//! One look ([`Shell::tick`]):
//! 1. hold the ledger, take or prolong the lease, read what operators and alerts have said;
//! 2. without the lease, do nothing: another guard acts;
//! 3. look at the system, tell the core what was said, let it judge;
//! 4. store the state, *then* act: a crash in between is recognised by the share that is pending;
//! 5. act under the ledger's lock, unless the lease is lost or an operator has spoken meanwhile.
//!
//! A log that cannot be read ends a look without acting; the next look tries again. A folder that cannot be written (a full
//! disk) does not: the guard goes on from memory and rolls back where it must, which needs no file, but advances nothing
//! that it could not write down. What it owes to the audit log it writes when there is room again.

#[cfg(test)]
mod faults;
mod orders;
mod recovery;
mod report;
mod stored;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::share::Share;

pub use report::{Report, STATUS_FILE};

use clients::in_words;
use guard::Guard;
use guard::decision::{Action, Decision};
use guard::observation::Observation;
use guard::plan::Plan;

use super::clock::now_ms;
use super::file::{self, FileError};
use super::lease::LeaseFile;
use super::ledger::{By, Entry, Held, Ledger, LedgerError, What};
use super::sink::Sink;
use super::source::totals::Totals;
use super::source::{Reading, Source, reading};

/// A lease outlasts this many looks, so that a slow one does not lose it.
const LEASE_LOOKS: u32 = 4;
/// Most entries that are owed to the audit log while it cannot be written.
const MOST_OWED: usize = 100;

/// A look that could not be finished. Nothing was set.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The ledger.
    #[error("the ledger")]
    Ledger(#[from] LedgerError),
    /// Another file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state could not be written as JSON, which does not happen.
    #[error("the state as JSON")]
    Json(#[from] serde_json::Error),
    /// No number could be drawn that tells this guard from others.
    #[error("drawing this guard's number")]
    Random(#[from] std::io::Error),
}

/// A guard with its sources, sinks and files.
#[derive(Debug)]
pub struct Shell<S, K> {
    source: S,
    sink: K,
    ledger: Ledger,
    lease: LeaseFile,
    folder: PathBuf,
    me: String,
    interval: Duration,
    fresh: Plan,
    guard: Guard,
    totals: Totals,
    leading: bool,
    /// Entries that could not be written yet, oldest first.
    owed: Vec<Owed>,
}

/// How a guard stands to the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// It holds it.
    Yes,
    /// Another guard does.
    No,
    /// It could not be written, and no other guard is known to hold it. That is enough to roll back: two guards that do
    /// so do no harm.
    Unwritten,
}

/// An entry that is to be written.
#[derive(Debug)]
struct Owed {
    at_ms: u64,
    what: What,
    reason: String,
}

impl<S: Source, K: Sink> Shell<S, K> {
    /// A guard named `me` that keeps its files in `folder` and looks every `interval`. `plan` is what it judges by until a
    /// ramp is started; a stored ramp goes on with its own.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(
        source: S,
        sink: K,
        folder: &Path,
        me: impl Into<String>,
        interval: Duration,
        plan: Plan,
    ) -> Result<Self, ShellError> {
        Ok(Self {
            source,
            sink,
            ledger: Ledger::in_folder(folder)?,
            lease: LeaseFile::in_folder(folder, clients::random_hex()?),
            folder: folder.to_path_buf(),
            me: me.into(),
            interval,
            guard: Guard::new(plan.clone()),
            fresh: plan,
            totals: Totals::default(),
            leading: false,
            owed: Vec::new(),
        })
    }

    /// The core.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Looks every interval until `stop` is ready, tells each report, and gives the lease up at the end.
    ///
    /// # Errors
    /// Only when the lease cannot be given up; a look that fails is told and tried again.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(Result<&Report, &ShellError>),
    ) -> Result<(), ShellError> {
        let mut stop = std::pin::pin!(stop);
        let mut clock = tokio::time::interval(self.interval);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = clock.tick() => {}
            }
            tell(self.tick(now_ms()).await.as_ref());
        }
        let _held = self.ledger.hold().await?;
        self.lease.release(&self.me, now_ms())?;
        Ok(())
    }

    /// One look.
    ///
    /// # Errors
    /// When the audit log cannot be read. Nothing was set then.
    pub async fn tick(&mut self, now_ms: u64) -> Result<Report, ShellError> {
        let mut troubles = Vec::new();
        let log = {
            let held = self.ledger.hold().await?;
            if self.leads(now_ms, &mut troubles) == Leads::No {
                self.leading = false;
                let leader = self.lease.read().ok().flatten().map(|lease| lease.holder);
                let (guard, interval_ms) = (self.me.clone(), self.interval_ms());
                return Ok(Report { at_ms: now_ms, interval_ms, guard, leader, ..Report::default() });
            }
            held.log().clone()
        };
        if !self.leading {
            self.load(now_ms, &log.entries, &mut troubles)?;
            self.leading = true;
        }
        troubles.extend(log.damage());
        let read = self.source.look(self.guard.evidence_since()).await;
        let seen = self.take_in(now_ms, read, &mut troubles);

        let was = (self.guard.state().paused.clone(), self.guard.state().frozen.clone());
        let (expected, step) = (self.guard.state().expected, self.guard.state().since_ms);
        let pending = self.guard.state().pending;
        self.guard.see(now_ms, &seen);
        let now_held = self.guard.state().expected;
        // What was set and could not be confirmed then, or not be written down before the guard was ended.
        let through = now_held.filter(|_| now_held == pending && now_held != expected);
        let by_hand = self.guard.state().paused.as_ref().filter(|stop| was.0.as_ref() != Some(*stop)).is_some();
        let mut notes = self.carry_out(now_ms, &log);
        let decision = self.guard.judge(now_ms, &seen);
        if self.guard.state().since_ms != step {
            self.totals.step_begins(now_ms);
        }
        let stored = self.stored(&mut troubles)?;

        if by_hand {
            let text = |share: Option<Share>| share.map_or_else(String::new, Share::to_runtime);
            let found = What::Found { from: text(expected), to: text(self.guard.state().expected) };
            notes.push((found, "not through the ledger".to_owned()));
        }
        if let Some(stop) = self.guard.state().frozen.as_ref().filter(|_| was.1.is_none()) {
            notes.push((What::Froze, stop.reason.clone()));
        }
        if let Some(share) = through.filter(|_| !told_of_a_set(&log.entries, now_held)) {
            let reason = self.guard.state().latched.as_ref().map(|stop| stop.reason.clone());
            let set = What::Set { from: expected.map(Share::to_runtime), to: share.to_runtime() };
            notes.push((set, reason.unwrap_or_else(|| "as decided before".to_owned())));
        }
        for (what, reason) in notes {
            self.owe(now_ms, what, reason, &mut troubles);
        }
        let carried_out = self.act(now_ms, &decision, &seen, stored, &mut troubles).await?;
        let report = self.report(now_ms, decision, carried_out, troubles);
        self.publish(report)
    }

    /// Takes or prolongs the lease.
    fn leads(&mut self, now_ms: u64, troubles: &mut Vec<String>) -> Leads {
        match self.lease.hold(&self.me, now_ms, self.lease_ms()) {
            Ok(true) => Leads::Yes,
            Ok(false) => Leads::No,
            Err(error) => {
                note(troubles, in_words(&error));
                Leads::Unwritten
            }
        }
    }

    /// From what was read to an observation.
    fn take_in(&mut self, now_ms: u64, read: Reading, troubles: &mut Vec<String>) -> Observation {
        let mut doubts = read.doubts;
        doubts.extend(self.totals.take(now_ms, &read.samples, reading::counter_labels));
        troubles.extend(read.troubles);
        troubles.extend(doubts.iter().cloned());
        let budget = self.guard.plan().latency.map(|latency| latency.budget_seconds);
        reading::observation(read.share, &read.samples, &self.totals, read.evidence, budget, doubts)
    }

    /// Stores the state; returns `false` when that is not possible now.
    fn stored(&self, troubles: &mut Vec<String>) -> Result<bool, ShellError> {
        match self.store() {
            Ok(()) => Ok(true),
            Err(ShellError::File(error)) => {
                note(troubles, in_words(&error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the report for who reads the folder. One that cannot be written is handed back all the same.
    fn publish(&self, mut report: Report) -> Result<Report, ShellError> {
        let text = serde_json::to_string(&report)?;
        if let Err(error) = file::replace(&self.folder.join(STATUS_FILE), &text) {
            note(&mut report.troubles, in_words(&error));
        }
        Ok(report)
    }

    /// Keeps an entry until it can be written.
    fn owe(&mut self, at_ms: u64, what: What, reason: String, troubles: &mut Vec<String>) {
        if self.owed.len() < MOST_OWED {
            self.owed.push(Owed { at_ms, what, reason });
        } else {
            note(troubles, format!("more than {MOST_OWED} entries wait for the audit log: this one is lost: {reason}"));
        }
    }

    /// Writes what is owed to the audit log; returns `false` when that is not possible now.
    fn settle(&mut self, held: &mut Held, troubles: &mut Vec<String>) -> bool {
        held.number_above(self.guard.state().last_order);
        while let Some(owed) = self.owed.first() {
            // Who changed the share may have written it down since the ledger was read.
            let known =
                matches!(owed.what, What::Found { .. }) && told_of_a_set(held.entries(), self.guard.state().expected);
            if !known {
                let by = By::Guard(self.me.clone());
                if let Err(error) = held.append(owed.at_ms, by, owed.what.clone(), owed.reason.clone()) {
                    note(troubles, in_words(&error));
                    return false;
                }
            }
            self.owed.remove(0);
        }
        true
    }

    /// Carries a decision out and writes down what happened. What is not `stored` is not advanced.
    async fn act(
        &mut self,
        now_ms: u64,
        decision: &Decision,
        seen: &Observation,
        stored: bool,
        troubles: &mut Vec<String>,
    ) -> Result<Option<bool>, ShellError> {
        let wanted = decision.set_share.as_deref().and_then(Share::from_runtime);
        if wanted.is_none() && self.owed.is_empty() {
            return Ok(None);
        }
        let mut held = self.ledger.hold().await?;
        let written = self.settle(&mut held, troubles);
        let Some(share) = wanted else { return Ok(None) };
        let leads = self.leads(now_ms, troubles);
        if leads == Leads::No {
            troubles.push("another guard has taken over meanwhile: nothing was set".to_owned());
            return Ok(Some(false));
        }
        if let Some(entry) = held.overtaken(self.guard.state().last_order) {
            let word = format!("{} spoke meanwhile (entry {}): nothing was set", entry.by, entry.number);
            self.owe(now_ms, What::Refused { wanted: share.to_runtime() }, word.clone(), troubles);
            self.settle(&mut held, troubles);
            troubles.push(word);
            return Ok(Some(false));
        }
        let written = stored && written && leads == Leads::Yes;
        let room = decision.action == Action::Rollback || (written && self.has_room(&held, troubles));
        if !room {
            troubles.push("the guard's folder cannot be written: nothing is advanced until it can".to_owned());
            return Ok(Some(false));
        }
        if let Err(error) = self.sink.set(share).await {
            troubles.push(in_words(&error));
            return Ok(Some(false));
        }
        let from = self.guard.state().expected.map(Share::to_runtime);
        let set = What::Set { from, to: share.to_runtime() };
        self.owe(now_ms, set, decision.reasons.join("; "), troubles);
        self.settle(&mut held, troubles);
        self.guard.applied(now_ms, seen);
        self.totals.step_begins(now_ms);
        self.stored(troubles)?;
        Ok(Some(true))
    }

    fn has_room(&self, held: &Held, troubles: &mut Vec<String>) -> bool {
        held.check_room().inspect_err(|error| note(troubles, in_words(error))).is_ok()
    }

    fn report(&self, now_ms: u64, decision: Decision, carried_out: Option<bool>, troubles: Vec<String>) -> Report {
        let state = self.guard.state();
        Report {
            at_ms: now_ms,
            interval_ms: self.interval_ms(),
            guard: self.me.clone(),
            leading: true,
            leader: None,
            phase: Some(state.phase),
            since_ms: state.since_ms,
            share: self.guard.share().map(Share::fraction),
            next: self.guard.next_step().map(|step| step.share.to_runtime()),
            plan: Some(self.guard.plan().raw().clone()),
            orders_done: state.last_order,
            paused: state.paused.clone(),
            latched: state.latched.clone(),
            frozen: state.frozen.clone(),
            decision: Some(decision),
            carried_out,
            troubles,
        }
    }

    fn interval_ms(&self) -> u64 {
        u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX)
    }

    fn lease_ms(&self) -> u64 {
        self.interval_ms().saturating_mul(u64::from(LEASE_LOOKS)).max(1_000)
    }
}

/// Does the last entry about the share say this one?
fn told_of_a_set(entries: &[Entry], share: Option<Share>) -> bool {
    let last = entries.iter().rev().find_map(|entry| match &entry.what {
        What::Set { to, .. } => Some(to.as_str()),
        _ => None,
    });
    last.and_then(Share::from_runtime).is_some_and(|held| Some(held) == share)
}

/// Adds what is not there yet: one full disk fails several files.
fn note(troubles: &mut Vec<String>, trouble: String) {
    if !troubles.contains(&trouble) {
        troubles.push(trouble);
    }
}
