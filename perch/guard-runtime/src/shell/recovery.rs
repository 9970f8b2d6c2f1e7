//! What the audit log knows of a ramp whose stored state was lost.
//!
//! Its evidence is gone, and with it the baseline; what remains is that users are on the model, by which plan they came
//! there, and what operators have said since. So the guard goes on watching over them, frozen: a breach rolls back, and
//! only an operator goes on.

use contract::share::Share;
use guard::Guard;
use guard::plan::Plan;
use guard::plan::raw::Raw;
use guard::state::{Phase, Stop};

use super::super::ledger::{By, Entry, What};

/// What the entries come to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Known {
    plan: Option<Raw>,
    share: Option<Share>,
    paused: Option<Stop>,
    latched: Option<Stop>,
    frozen: Option<Stop>,
}

impl Known {
    /// `None` when no ramp is under way and nothing is stopped.
    pub(super) fn from_entries(entries: &[Entry]) -> Option<Self> {
        let mut known = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let later = entries.get(index + 1..).unwrap_or_default();
            if !refused(entry, later) {
                known.take(entry);
            }
        }
        let stopped = known.paused.is_some() || known.latched.is_some();
        (known.plan.is_some() || stopped).then_some(known)
    }

    fn take(&mut self, entry: &Entry) {
        let stop = || Some(Stop { at_ms: entry.at_ms, reason: entry.words() });
        let by_guard = matches!(entry.by, By::Guard(_));
        match &entry.what {
            What::Start { plan } => {
                *self = Self { plan: Some(plan.as_ref().clone()), share: Some(Share::OFF), ..Self::default() };
            }
            What::Abort => *self = Self::default(),
            What::Pause => self.paused = stop(),
            What::Resume => (self.paused, self.latched, self.frozen) = (None, None, None),
            What::Rollback => (self.paused, self.latched) = (None, stop()),
            What::Froze => self.frozen = stop(),
            What::Set { to, .. } | What::Found { to, .. } => {
                let share = Share::from_runtime(to);
                self.share = share;
                let under_way = self.plan.is_some() || self.latched.is_some();
                let back = share == Some(Share::OFF);
                let found = matches!(entry.what, What::Found { .. });
                if by_guard && back && !found {
                    self.latched = stop();
                } else if (found || matches!(entry.by, By::Human(_))) && under_way && !(back && self.latched.is_some())
                {
                    self.paused = stop();
                }
            }
            What::Beta { .. } | What::Approve | What::Lost { .. } | What::Ended | What::Refused { .. } => {}
        }
    }

    /// A guard that knows this much; it judges by `fresh` where the plan is not known or not good any more.
    pub(super) fn guard(self, now_ms: u64, fresh: &Plan) -> Guard {
        let plan = self.plan.and_then(|plan| Plan::check(plan).ok());
        let phase = match (&plan, self.share) {
            (None, _) => Phase::Watching,
            (Some(_), None | Some(Share::OFF)) => Phase::Baseline,
            (Some(_), Some(_)) => Phase::Step,
        };
        let lost = || Stop {
            at_ms: now_ms,
            reason: "the stored state was lost, and with it the evidence: `perch ramp resume` goes on without a \
                     learnt baseline, `perch ramp start` at 0% learns one"
                .to_owned(),
        };
        let frozen = self.frozen.or_else(|| (phase == Phase::Step).then(lost));
        let mut guard = Guard::new(plan.unwrap_or_else(|| fresh.clone()));
        guard.recover(now_ms, phase, self.share, (self.paused, self.latched, frozen));
        guard
    }
}

/// Returns `true` if the guard refused the order.
fn refused(entry: &Entry, later: &[Entry]) -> bool {
    let words = format!("entry {}", entry.number);
    entry.is_order() && later.iter().any(|entry| matches!(&entry.what, What::Refused { wanted } if *wanted == words))
}
