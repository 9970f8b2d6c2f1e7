//! The core: from a look to a decision. See [`super`] for the rules.

mod act;
mod orders;
#[cfg(test)]
mod tests;

pub use orders::{Order, OrderError};

use contract::evidence::Evidence;
use contract::share::Share;

use super::checks::Look;
use super::checks::rate::Limit;
use super::decision::{Check, Decision, Judgement};
use super::observation::{Observation, SeenShare};
use super::plan::{Plan, PlanError, Step};
use super::state::{Phase, State, Stop, VERSION};

/// A clock that is set back by less is waited for.
const CLOCK_SLACK_MS: u64 = 60_000;

/// Stored state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by another version.
    #[error("the guard's state has version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// Not what was written.
    #[error("the guard's state cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// Its plan breaks a rule.
    #[error("the plan in the guard's state")]
    Plan(#[from] PlanError),
}

/// The decision core.
#[derive(Debug, Clone)]
pub struct Guard {
    plan: Plan,
    state: State,
    /// The share at the last look.
    seen: Option<Share>,
}

impl Guard {
    /// A guard that watches; `plan` says what it judges by until a ramp is started.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let state = State::new(plan.raw().clone(), plan.steps.len());
        Self { plan, state, seen: None }
    }

    /// The state as JSON.
    ///
    /// # Errors
    /// When a number in it is not finite, which does not happen.
    pub fn to_json(&self) -> Result<String, StateError> {
        Ok(serde_json::to_string(&self.state)?)
    }

    /// Goes on from a stored state.
    ///
    /// # Errors
    /// When it is not one that this program wrote.
    pub fn from_json(text: &str) -> Result<Self, StateError> {
        #[derive(serde::Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let OnlyVersion { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let state: State = serde_json::from_str(text)?;
        let plan = Plan::check(state.plan.clone())?;
        Ok(Self { plan, state, seen: None })
    }

    /// The plan in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// From when on evidence by user is wanted, in milliseconds since 1970.
    #[must_use]
    pub fn evidence_since(&self) -> u64 {
        self.state.settled_ms.unwrap_or(self.state.since_ms)
    }

    /// Remembers which orders have been carried out, and when the last of them was given.
    pub const fn orders_done(&mut self, number: u64, at_ms: u64) {
        self.state.last_order = number;
        self.state.last_order_ms = at_ms;
    }

    /// Freezes a ramp that is under way, unless it is frozen.
    pub fn freeze(&mut self, now_ms: u64, reason: String) {
        if self.state.phase != Phase::Watching && self.state.frozen.is_none() {
            self.state.frozen = Some(Stop { at_ms: now_ms, reason });
        }
    }

    /// Goes on with what is known of a ramp without its evidence: at `share`, and `stops` as in paused, latched, frozen.
    pub fn recover(
        &mut self,
        now_ms: u64,
        phase: Phase,
        share: Option<Share>,
        stops: (Option<Stop>, Option<Stop>, Option<Stop>),
    ) {
        self.state.phase = phase;
        self.state.since_ms = now_ms;
        self.state.expected = share;
        (self.state.paused, self.state.latched, self.state.frozen) = stops;
    }

    /// While no ramp is under way and nothing is stopped, judges by `plan` from now on.
    pub fn watch_by(&mut self, plan: &Plan) {
        let idle = self.state.paused.is_none() && self.state.latched.is_none();
        if self.state.phase == Phase::Watching && idle && *plan != self.plan {
            let (last_order, last_order_ms) = (self.state.last_order, self.state.last_order_ms);
            *self = Self::new(plan.clone());
            self.orders_done(last_order, last_order_ms);
        }
    }

    /// The step that follows the share that is held; `None` at the last one.
    #[must_use]
    pub fn next_step(&self) -> Option<&Step> {
        let here = self.state.expected.map_or(0.0, Share::fraction);
        self.plan.steps.iter().find(|step| step.share.fraction() > here)
    }

    fn this_step(&self) -> Option<&Step> {
        let here = self.state.expected.map_or(0.0, Share::fraction);
        self.plan.steps.iter().rev().find(|step| step.share.fraction() <= here)
    }

    /// The gateways hold what the last decision asked for. Call it once they have confirmed that.
    pub fn applied(&mut self, now_ms: u64, seen: &Observation) {
        if let Some(share) = self.state.pending.take() {
            self.state.expected = Some(share);
            self.seen = Some(share);
            if self.state.latched.is_none() && self.state.phase != Phase::Watching {
                self.state.phase = Phase::Step;
            }
            self.begin(now_ms, seen);
        }
    }

    /// A step begins. Agreement is of both arms, so its evidence starts at once; that of the arms when it has settled.
    fn begin(&mut self, now_ms: u64, seen: &Observation) {
        let state = &mut self.state;
        state.since_ms = now_ms;
        state.settled_ms = None;
        state.approved = false;
        state.requests_from = seen.dropped.map(|part| part.all);
        if state.phase != Phase::Baseline
            && let Some(rule) = &self.plan.agreement
        {
            state.agreement.step(now_ms, seen, rule, &self.plan.baseline);
        }
    }

    /// What is counted just after a change is partly from before it: requests under way, counters read a while ago.
    fn settle(&mut self, now_ms: u64, seen: &Observation) {
        let state = &mut self.state;
        if state.settled_ms.is_some()
            || state.phase == Phase::Baseline
            || now_ms.saturating_sub(state.since_ms) < self.plan.settle_ms
        {
            return;
        }
        state.settled_ms = Some(now_ms);
        state.accept.step();
        state.ratio.step(seen.assigned);
        state.fallback.step(now_ms, seen.canary, None);
        state.latency.step(now_ms, seen.canary_slow, seen.rule_slow);
    }

    /// Takes notice of the gateways' share, so that orders meet it; [`Guard::judge`] does so too.
    pub fn see(&mut self, now_ms: u64, seen: &Observation) {
        self.take_share(now_ms, seen, &mut Vec::new());
    }

    /// The share at the last look; `None` when it was not known.
    #[must_use]
    pub const fn share(&self) -> Option<Share> {
        self.seen
    }

    /// An operator has set the share: during a ramp and after a rollback that pauses, unless it only makes a rollback true.
    pub fn set_by_hand(&mut self, now_ms: u64, share: Share, words: String) {
        let under_way = self.state.phase != Phase::Watching || self.state.latched.is_some();
        let rolled_back = share == Share::OFF && self.state.latched.is_some();
        if under_way && !rolled_back {
            self.pause(now_ms, words);
        }
    }

    /// Looks: judges every check and decides. A decision to move is not carried out here; the shell sets the share and
    /// then calls [`Guard::applied`]. Store the state between the two.
    pub fn judge(&mut self, now_ms: u64, seen: &Observation) -> Decision {
        self.decide(now_ms, seen, true)
    }

    /// The same decision without the bounds and words that only people read, for simulations.
    pub fn judge_quietly(&mut self, now_ms: u64, seen: &Observation) -> Decision {
        self.decide(now_ms, seen, false)
    }

    fn decide(&mut self, now_ms: u64, seen: &Observation, in_words: bool) -> Decision {
        let mut reasons = Vec::new();
        self.not_after(now_ms);
        if self.state.requests_from.is_none() {
            self.state.requests_from = seen.dropped.map(|part| part.all);
        }
        self.take_share(now_ms, seen, &mut reasons);
        self.settle(now_ms, seen);
        let look = Look { now_ms, share: self.seen.map(Share::fraction), in_words };
        let judgements = self.checks(look, seen);
        let (action, set) = self.act(now_ms, seen, &judgements, &mut reasons);
        self.state.pending = set;
        Decision { at_ms: now_ms, action, set_share: set.map(Share::to_runtime), reasons, judgements }
    }

    /// After the clock was set back, times that lie ahead would keep a step from settling until they come: the step begins
    /// now, and settles again.
    fn not_after(&mut self, now_ms: u64) {
        let ahead = |at_ms: u64| at_ms > now_ms.saturating_add(CLOCK_SLACK_MS);
        if ahead(self.state.since_ms) {
            self.state.since_ms = now_ms;
        }
        if self.state.settled_ms.is_some_and(ahead) {
            self.state.settled_ms = None;
        }
    }

    /// Compares the gateways' share with the expected one: whoever changed it, it was not the guard.
    fn take_share(&mut self, now_ms: u64, seen: &Observation, reasons: &mut Vec<String>) {
        let share = match &seen.share {
            SeenShare::Is(share) => *share,
            SeenShare::Differs(how) => {
                self.seen = None;
                reasons.push(format!("the gateways hold different shares: {how}"));
                return;
            }
            SeenShare::Unknown => {
                self.seen = None;
                reasons.push("no data: a gateway cannot be reached".to_owned());
                return;
            }
        };
        self.seen = Some(share);
        let Some(expected) = self.state.expected else {
            self.state.expected = Some(share);
            return;
        };
        if share == expected {
            return;
        }
        if self.state.pending == Some(share) {
            // The guard set it and was ended before it could say so.
            self.applied(now_ms, seen);
            return;
        }
        self.state.expected = Some(share);
        // What was counted at another share says nothing about this one.
        self.begin(now_ms, seen);
        if self.state.phase != Phase::Watching || self.state.latched.is_some() {
            self.pause(now_ms, format!("the share was changed by hand from {expected} to {share}"));
        }
    }

    fn checks(&mut self, look: Look, seen: &Observation) -> Vec<Judgement> {
        let Self { plan, state, .. } = self;
        let mut out = Vec::with_capacity(10);
        let evidence: Option<&Evidence> = seen.evidence.as_ref();
        let settled = state.settled_ms;
        if let Some(rule) = &plan.agreement {
            out.push(match state.phase {
                Phase::Baseline => state.agreement.learn(look, seen, rule, &plan.baseline),
                Phase::Watching | Phase::Step => state.agreement.judge(look, seen, rule),
            });
        }
        if state.phase != Phase::Baseline {
            if let Some(rule) = &plan.accept_rate {
                out.push(state.accept.judge(look, settled, evidence, rule));
            }
            out.push(state.ratio.judge(look, settled, evidence, seen.assigned, &plan.sample_ratio));
            if let Some(rule) = &plan.fallback {
                let limit = Limit {
                    check: Check::Fallback,
                    what: "canary requests fell back to the rules",
                    at_most: rule.at_most,
                    alpha: rule.alpha,
                    on_breach: rule.on_breach,
                };
                out.push(state.fallback.judge(look, seen.canary, None, &limit));
            }
            if let Some(rule) = &plan.latency {
                let limit = Limit {
                    check: Check::Latency,
                    what: "answers to canary users were slow",
                    at_most: rule.slow_at_most,
                    alpha: rule.alpha,
                    on_breach: rule.on_breach,
                };
                out.push(state.latency.judge(look, seen.canary_slow, seen.rule_slow, &limit));
            }
        }
        state.signals.judge(look, seen, &plan.signals, &mut out);
        out
    }
}
