//! The thin shell around the core: reads, lets the core judge, carries out, stores.
//!
//! One look ([`Shell::tick`]):
//! 1. hold the ledger, take or prolong the lease, read what operators and alerts have said;
//! 2. without the lease, do nothing: another guard acts;
//! 3. look at the system, tell the core what was said, let it judge;
//! 4. store the state, *then* act: a crash in between is recognised by the share that is pending;
//! 5. act under the ledger's lock, unless the lease is lost or an operator has spoken meanwhile.
//!
//! Trouble with files ends a look without acting; the next look tries again.

mod orders;
mod stored;
#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::switch::Share;
use serde::{Deserialize, Serialize};

use super::clock::now_ms;
use super::decision::{Action, Decision};
use super::file::{self, FileError};
use super::lease::LeaseFile;
use super::ledger::{By, Entry, Ledger, LedgerError, What};
use super::observation::Observation;
use super::plan::Plan;
use super::plan::raw::Raw;
use super::ramp::Guard;
use super::sink::Sink;
use super::source::totals::Totals;
use super::source::{Source, reading};
use super::state::{Phase, Stop};

/// A lease outlasts this many looks, so that a slow one does not lose it.
const LEASE_LOOKS: u32 = 4;
/// File of the last report, for `perch status`.
pub const STATUS_FILE: &str = "status.json";

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
}

/// What a look came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The next look is so many milliseconds later.
    pub interval_ms: u64,
    /// This guard's name.
    pub guard: String,
    /// Does it hold the lease?
    pub leading: bool,
    /// Who does, when it does not.
    pub leader: Option<String>,
    /// Where the ramp is.
    pub phase: Option<Phase>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The share that the gateways hold, 0..=1; `None` while it is not known.
    pub share: Option<f64>,
    /// The next step's share, as Envoy's runtime writes it.
    pub next: Option<String>,
    /// The plan in force, as written; `None` without the lease.
    pub plan: Option<Raw>,
    /// Number of the last of the ledger's orders that was carried out or refused.
    pub orders_done: u64,
    /// Why the guard does not act.
    pub paused: Option<Stop>,
    /// Why it rolled back.
    pub latched: Option<Stop>,
    /// Why it froze.
    pub frozen: Option<Stop>,
    /// The decision; `None` without the lease.
    pub decision: Option<Decision>,
    /// Was it carried out? `None` when nothing was to be set.
    pub carried_out: Option<bool>,
    /// What could not be read or done, in words.
    pub troubles: Vec<String>,
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
            lease: LeaseFile::in_folder(folder),
            folder: folder.to_path_buf(),
            me: me.into(),
            interval,
            guard: Guard::new(plan.clone()),
            fresh: plan,
            totals: Totals::default(),
            leading: false,
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
    /// When a file cannot be used. Nothing was set then.
    pub async fn tick(&mut self, now_ms: u64) -> Result<Report, ShellError> {
        let entries = {
            let held = self.ledger.hold().await?;
            if !self.lease.hold(&self.me, now_ms, self.lease_ms())? {
                self.leading = false;
                let leader = self.lease.read()?.map(|lease| lease.holder);
                let (guard, interval_ms) = (self.me.clone(), self.interval_ms());
                return Ok(Report { at_ms: now_ms, interval_ms, guard, leader, ..Report::default() });
            }
            held.entries().to_vec()
        };
        let mut troubles = Vec::new();
        if !self.leading {
            let last = entries.last().map_or(0, |entry| entry.number);
            self.load(now_ms, last, &mut troubles)?;
            self.leading = true;
        }
        let read = self.source.look(self.guard.evidence_since()).await;
        troubles.extend(read.troubles);
        self.totals.take(&read.samples);
        let budget = self.guard.plan().latency.map(|latency| latency.budget_seconds);
        let seen = reading::observation(read.share, &read.samples, &self.totals, read.evidence, budget);

        let was = (self.guard.state().paused.clone(), self.guard.state().frozen.clone());
        let expected = self.guard.state().expected;
        self.guard.see(now_ms, &seen);
        let by_hand = self.guard.state().paused.as_ref().filter(|stop| was.0.as_ref() != Some(*stop)).is_some();
        let refused = self.carry_out(now_ms, &entries);
        let decision = self.guard.judge(now_ms, &seen);
        self.store()?;

        let mut notes = refused;
        if by_hand {
            let text = |share: Option<Share>| share.map_or_else(String::new, Share::to_runtime);
            let found = What::Found { from: text(expected), to: text(self.guard.state().expected) };
            notes.push((found, "not through the ledger".to_owned()));
        }
        if let Some(stop) = self.guard.state().frozen.as_ref().filter(|_| was.1.is_none()) {
            notes.push((What::Froze, stop.reason.clone()));
        }
        let carried_out = self.act(now_ms, &decision, &seen, notes, &mut troubles).await?;
        let report = self.report(now_ms, decision, carried_out, troubles);
        file::replace(&self.folder.join(STATUS_FILE), &serde_json::to_string(&report)?)?;
        Ok(report)
    }

    /// Carries a decision out and writes down what happened.
    async fn act(
        &mut self,
        now_ms: u64,
        decision: &Decision,
        seen: &Observation,
        notes: Vec<(What, String)>,
        troubles: &mut Vec<String>,
    ) -> Result<Option<bool>, ShellError> {
        let wanted = decision.set_share.as_deref().and_then(Share::from_runtime);
        if wanted.is_none() && notes.is_empty() {
            return Ok(None);
        }
        let me = || By::Guard(self.me.clone());
        let mut held = self.ledger.hold().await?;
        for (what, reason) in notes {
            // Who changed the share may have written it down since the ledger was read.
            if matches!(what, What::Found { .. }) && told_of_a_set(held.entries(), self.guard.state().expected) {
                continue;
            }
            held.append(now_ms, me(), what, reason)?;
        }
        let Some(share) = wanted else { return Ok(None) };
        if !self.lease.hold(&self.me, now_ms, self.lease_ms())? {
            troubles.push("another guard has taken over meanwhile: nothing was set".to_owned());
            return Ok(Some(false));
        }
        let reason = decision.reasons.join("; ");
        if let Some(entry) = held.overtaken(self.guard.state().last_order) {
            let word = format!("{} spoke meanwhile (entry {}): nothing was set", entry.by, entry.number);
            held.append(now_ms, me(), What::Refused { wanted: share.to_runtime() }, word.clone())?;
            troubles.push(word);
            return Ok(Some(false));
        }
        if let Err(error) = self.sink.set(share).await {
            troubles.push(super::source::in_words(&error));
            return Ok(Some(false));
        }
        let from = self.guard.state().expected.map(Share::to_runtime);
        held.append(now_ms, me(), What::Set { from, to: share.to_runtime() }, reason)?;
        self.guard.applied(now_ms, seen);
        self.store()?;
        Ok(Some(true))
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

impl Report {
    /// One line for a log: the decision and its first reason, or who leads.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(decision) = &self.decision else {
            return format!("watching: {} holds the lease", self.leader.as_deref().unwrap_or("another guard"));
        };
        let set = match (&decision.set_share, self.carried_out) {
            (Some(share), Some(true)) => format!(" to {share}"),
            (Some(share), _) => format!(" to {share}, not carried out"),
            (None, _) => String::new(),
        };
        format!("{}{set}: {}", decision.action.as_str(), decision.reasons.join("; "))
    }

    /// Is it worth a line of its own after `before`? Holds for the same reason are not.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        let essence = |report: &Self| {
            let decision = report.decision.as_ref();
            let verdicts: Option<Vec<_>> =
                decision.map(|decision| decision.judgements.iter().map(|judgement| judgement.verdict).collect());
            (report.leading, decision.map(|decision| decision.action), verdicts, report.troubles.clone())
        };
        let acts = self.decision.as_ref().is_some_and(|decision| decision.action == Action::Advance);
        acts || essence(self) != essence(before)
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
