//! Recovery of a rollout from the audit log after the stored state was lost.
//!
//! The evidence is lost, and with it the measured baseline. The audit log still has the share, the plan and the
//! commands of operators. So the guard continues frozen: a breach rolls back, and only an operator can resume.

use contract::share::Share;
use guard::Guard;
use guard::plan::Plan;
use guard::plan::raw::RawPlan;
use guard::state::{Phase, Stop};

use super::super::audit_log::{Actor, Entry, Event};

/// A rollout as the audit log describes it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RecoveredRollout {
    plan: Option<RawPlan>,
    share: Option<Share>,
    paused: Option<Stop>,
    latched: Option<Stop>,
    frozen: Option<Stop>,
}

impl RecoveredRollout {
    /// Reads the rollout from `entries`; `None` when none is in progress and the guard is not stopped.
    pub(super) fn from_entries(entries: &[Entry]) -> Option<Self> {
        let mut known = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let later = entries.get(index + 1..).unwrap_or_default();
            if !is_rejected(entry, later) {
                known.take(entry);
            }
        }
        let stopped = known.paused.is_some() || known.latched.is_some();
        (known.plan.is_some() || stopped).then_some(known)
    }

    fn take(&mut self, entry: &Entry) {
        let stop = || Some(Stop { at_ms: entry.at_ms, reason: entry.describe() });
        let by_guard = matches!(entry.actor, Actor::Guard(_));
        match &entry.event {
            Event::Start { plan } => {
                *self = Self { plan: Some(plan.as_ref().clone()), share: Some(Share::OFF), ..Self::default() };
            }
            Event::Abort => *self = Self::default(),
            Event::Pause => self.paused = stop(),
            Event::Resume => (self.paused, self.latched, self.frozen) = (None, None, None),
            Event::Rollback => (self.paused, self.latched) = (None, stop()),
            Event::Frozen => self.frozen = stop(),
            Event::ShareSet { to, .. } | Event::ExternalChange { to, .. } => {
                let share = Share::from_runtime(to);
                self.share = share;
                let under_way = self.plan.is_some() || self.latched.is_some();
                let back = share == Some(Share::OFF);
                let found = matches!(entry.event, Event::ExternalChange { .. });
                if by_guard && back && !found {
                    self.latched = stop();
                } else if (found || matches!(entry.actor, Actor::Operator(_)))
                    && under_way
                    && !(back && self.latched.is_some())
                {
                    self.paused = stop();
                }
            }
            Event::BetaShareSet { .. }
            | Event::Approve
            | Event::EntriesLost { .. }
            | Event::AlertResolved
            | Event::Rejected { .. } => {}
        }
    }

    /// A guard in this state; it judges by `default_plan` if the plan is not known or no longer valid.
    pub(super) fn guard(self, now_ms: u64, default_plan: &Plan) -> Guard {
        let plan = self.plan.and_then(|plan| Plan::check(plan).ok());
        let phase = match (&plan, self.share) {
            (None, _) => Phase::Watching,
            (Some(_), None | Some(Share::OFF)) => Phase::Baseline,
            (Some(_), Some(_)) => Phase::Step,
        };
        let lost = || Stop {
            at_ms: now_ms,
            reason: "the stored state was lost, and with it the evidence: `perch ramp resume` continues without a \
                     reference agreement, `perch ramp start` at 0% measures one"
                .to_owned(),
        };
        let frozen = self.frozen.or_else(|| (phase == Phase::Step).then(lost));
        let mut guard = Guard::new(plan.unwrap_or_else(|| default_plan.clone()));
        guard.recover(now_ms, phase, self.share, (self.paused, self.latched, frozen));
        guard
    }
}

/// Returns `true` if the guard rejected the command in a later entry.
fn is_rejected(entry: &Entry, later: &[Entry]) -> bool {
    let name = format!("entry {}", entry.number);
    entry.is_command()
        && later.iter().any(|entry| matches!(&entry.event, Event::Rejected { requested } if *requested == name))
}
