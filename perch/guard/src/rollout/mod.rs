//! The core: from a snapshot of the system to a decision. See [`super`] for the rules.

mod action;
mod commands;
#[cfg(test)]
mod tests;

pub use commands::{CommandError, OperatorCommand};

use contract::evidence::Evidence;
use contract::share::Share;

use super::checks::EvaluationContext;
use super::checks::rate::RateLimit;
use super::decision::{Check, CheckResult, Decision};
use super::plan::{Plan, PlanError, Step};
use super::snapshot::{GatewayShare, SystemSnapshot};
use super::state::{GuardState, Phase, Stop, VERSION};

/// When the clock was set back by less than this, the guard waits until it has caught up.
const CLOCK_SLACK_MS: u64 = 60_000;

/// A stored state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by another version.
    #[error("the stored state has version {0}, but this program reads version {VERSION}")]
    Version(u32),
    /// Not valid JSON, or not the expected fields.
    #[error("cannot parse the stored state")]
    Unreadable(#[from] serde_json::Error),
    /// The stored plan breaks a rule.
    #[error("the stored state holds an invalid plan")]
    Plan(#[from] PlanError),
}

/// The decision core.
#[derive(Debug, Clone)]
pub struct Guard {
    plan: Plan,
    state: GuardState,
    /// The share that the gateways held at the last evaluation.
    share: Option<Share>,
}

impl Guard {
    /// A guard that only watches; it judges by `plan` until a rollout is started.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let state = GuardState::new(plan.raw().clone(), plan.steps.len());
        Self { plan, state, share: None }
    }

    /// The state as JSON.
    ///
    /// # Errors
    /// When a number in it is not finite, which does not happen.
    pub fn to_json(&self) -> Result<String, StateError> {
        Ok(serde_json::to_string(&self.state)?)
    }

    /// A guard that continues from a stored state.
    ///
    /// # Errors
    /// When `text` is not a state that this version of the program wrote.
    pub fn from_json(text: &str) -> Result<Self, StateError> {
        #[derive(serde::Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let OnlyVersion { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let state: GuardState = serde_json::from_str(text)?;
        let plan = Plan::check(state.plan.clone())?;
        Ok(Self { plan, state, share: None })
    }

    /// The plan in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &GuardState {
        &self.state
    }

    /// Start of the evidence by user that the checks need, in milliseconds since 1970.
    #[must_use]
    pub fn evidence_since(&self) -> u64 {
        self.state.settled_ms.unwrap_or(self.state.since_ms)
    }

    /// Records the number of the last command that was processed, and when it was given.
    pub const fn record_command(&mut self, number: u64, at_ms: u64) {
        self.state.last_command = number;
        self.state.last_command_ms = at_ms;
    }

    /// Freezes a rollout that is in progress, unless it is frozen already.
    pub fn freeze(&mut self, now_ms: u64, reason: String) {
        if self.state.phase != Phase::Watching && self.state.frozen.is_none() {
            self.state.frozen = Some(Stop { at_ms: now_ms, reason });
        }
    }

    /// Restores a rollout whose evidence was lost: at `share`, with the stops `(paused, latched, frozen)`.
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

    /// Replaces the plan, unless a rollout is in progress or the guard is paused or latched.
    pub fn watch_by(&mut self, plan: &Plan) {
        let idle = self.state.paused.is_none() && self.state.latched.is_none();
        if self.state.phase == Phase::Watching && idle && *plan != self.plan {
            let (last_command, last_command_ms) = (self.state.last_command, self.state.last_command_ms);
            *self = Self::new(plan.clone());
            self.record_command(last_command, last_command_ms);
        }
    }

    /// The step after the present share; `None` at the last one.
    #[must_use]
    pub fn next_step(&self) -> Option<&Step> {
        let here = self.state.expected.map_or(0.0, Share::fraction);
        self.plan.steps.iter().find(|step| step.share.fraction() > here)
    }

    fn this_step(&self) -> Option<&Step> {
        let here = self.state.expected.map_or(0.0, Share::fraction);
        self.plan.steps.iter().rev().find(|step| step.share.fraction() <= here)
    }

    /// Records that the gateways hold the share of the last decision. Call it once they have confirmed it.
    pub fn applied(&mut self, now_ms: u64, snapshot: &SystemSnapshot) {
        if let Some(share) = self.state.pending.take() {
            self.state.expected = Some(share);
            self.share = Some(share);
            if self.state.latched.is_none() && self.state.phase != Phase::Watching {
                self.state.phase = Phase::Step;
            }
            self.begin(now_ms, snapshot);
        }
    }

    /// Begins a step. Agreement is measured over both arms, so its evidence starts at once; evidence by arm starts when
    /// the step has settled.
    fn begin(&mut self, now_ms: u64, snapshot: &SystemSnapshot) {
        let state = &mut self.state;
        state.since_ms = now_ms;
        state.settled_ms = None;
        state.approved = false;
        state.requests_from = snapshot.dropped.map(|part| part.all);
        if state.phase != Phase::Baseline
            && let Some(rule) = &self.plan.agreement
        {
            state.agreement.step(now_ms, snapshot, rule, &self.plan.baseline);
        }
    }

    /// Starts the evidence by arm once `settle_time` has passed: just after a change, counters still contain requests
    /// from before it.
    fn settle(&mut self, now_ms: u64, snapshot: &SystemSnapshot) {
        let state = &mut self.state;
        if state.settled_ms.is_some()
            || state.phase == Phase::Baseline
            || now_ms.saturating_sub(state.since_ms) < self.plan.settle_ms
        {
            return;
        }
        state.settled_ms = Some(now_ms);
        state.accept_rate.step();
        state.sample_ratio.step(snapshot.assigned);
        state.fallback.step(now_ms, snapshot.canary, None);
        state.latency.step(now_ms, snapshot.canary_slow, snapshot.baseline_slow);
    }

    /// Records the gateways' share before commands are applied; [`Guard::evaluate`] does so too.
    pub fn note_share(&mut self, now_ms: u64, snapshot: &SystemSnapshot) {
        self.update_share(now_ms, snapshot, &mut Vec::new());
    }

    /// The share that the gateways held at the last evaluation; `None` when it was not known.
    #[must_use]
    pub const fn share(&self) -> Option<Share> {
        self.share
    }

    /// Takes note of a share that an operator has set: during a rollout and after a rollback this pauses the guard,
    /// unless the operator only completed the rollback.
    pub fn override_share(&mut self, now_ms: u64, share: Share, reason: String) {
        let under_way = self.state.phase != Phase::Watching || self.state.latched.is_some();
        let rolled_back = share == Share::OFF && self.state.latched.is_some();
        if under_way && !rolled_back {
            self.pause(now_ms, reason);
        }
    }

    /// Evaluates every check and decides. A decision to change the share is not carried out here: the control loop
    /// stores the state, sets the share and then calls [`Guard::applied`].
    pub fn evaluate(&mut self, now_ms: u64, snapshot: &SystemSnapshot) -> Decision {
        self.decide(now_ms, snapshot, true)
    }

    /// The same decision without bounds and reasons, which only people read; for simulations.
    pub fn evaluate_without_text(&mut self, now_ms: u64, snapshot: &SystemSnapshot) -> Decision {
        self.decide(now_ms, snapshot, false)
    }

    fn decide(&mut self, now_ms: u64, snapshot: &SystemSnapshot, explain: bool) -> Decision {
        let mut reasons = Vec::new();
        self.clamp_to_clock(now_ms);
        if self.state.requests_from.is_none() {
            self.state.requests_from = snapshot.dropped.map(|part| part.all);
        }
        self.update_share(now_ms, snapshot, &mut reasons);
        self.settle(now_ms, snapshot);
        let context = EvaluationContext { now_ms, share: self.share.map(Share::fraction), explain };
        let checks = self.checks(context, snapshot);
        let (action, set) = self.act(now_ms, snapshot, &checks, &mut reasons);
        self.state.pending = set;
        Decision { at_ms: now_ms, action, set_share: set.map(Share::to_runtime), reasons, checks }
    }

    /// Corrects times that lie in the future after the clock was set back; they would keep the step from settling.
    fn clamp_to_clock(&mut self, now_ms: u64) {
        let ahead = |at_ms: u64| at_ms > now_ms.saturating_add(CLOCK_SLACK_MS);
        if ahead(self.state.since_ms) {
            self.state.since_ms = now_ms;
        }
        if self.state.settled_ms.is_some_and(ahead) {
            self.state.settled_ms = None;
        }
    }

    /// Compares the gateways' share with the expected one; a difference is a change that the guard did not make.
    fn update_share(&mut self, now_ms: u64, snapshot: &SystemSnapshot, reasons: &mut Vec<String>) {
        let share = match &snapshot.share {
            GatewayShare::Known(share) => *share,
            GatewayShare::Differs(how) => {
                self.share = None;
                reasons.push(format!("the gateways hold different shares: {how}"));
                return;
            }
            GatewayShare::Unknown => {
                self.share = None;
                reasons.push("no data: a gateway cannot be reached".to_owned());
                return;
            }
        };
        self.share = Some(share);
        let Some(expected) = self.state.expected else {
            self.state.expected = Some(share);
            return;
        };
        if share == expected {
            return;
        }
        if self.state.pending == Some(share) {
            // The guard set this share and was stopped before it could record it.
            self.applied(now_ms, snapshot);
            return;
        }
        self.state.expected = Some(share);
        // Evidence from another share does not apply to this one.
        self.begin(now_ms, snapshot);
        if self.state.phase != Phase::Watching || self.state.latched.is_some() {
            self.pause(now_ms, format!("the share was changed manually from {expected} to {share}"));
        }
    }

    fn checks(&mut self, context: EvaluationContext, snapshot: &SystemSnapshot) -> Vec<CheckResult> {
        let Self { plan, state, .. } = self;
        let mut out = Vec::with_capacity(10);
        let evidence: Option<&Evidence> = snapshot.evidence.as_ref();
        let settled = state.settled_ms;
        if let Some(rule) = &plan.agreement {
            out.push(match state.phase {
                Phase::Baseline => state.agreement.measure_baseline(context, snapshot, rule, &plan.baseline),
                Phase::Watching | Phase::Step => state.agreement.judge(context, snapshot, rule),
            });
        }
        if state.phase != Phase::Baseline {
            if let Some(rule) = &plan.accept_rate {
                out.push(state.accept_rate.judge(context, settled, evidence, rule));
            }
            out.push(state.sample_ratio.judge(context, settled, evidence, snapshot.assigned, &plan.sample_ratio));
            if let Some(rule) = &plan.fallback {
                let limit = RateLimit {
                    check: Check::Fallback,
                    description: "canary requests fell back to the baseline",
                    at_most: rule.at_most,
                    alpha: rule.alpha,
                    on_breach: rule.on_breach,
                };
                out.push(state.fallback.judge(context, snapshot.canary, None, &limit));
            }
            if let Some(rule) = &plan.latency {
                let limit = RateLimit {
                    check: Check::Latency,
                    description: "responses to canary users were slow",
                    at_most: rule.slow_at_most,
                    alpha: rule.alpha,
                    on_breach: rule.on_breach,
                };
                out.push(state.latency.judge(context, snapshot.canary_slow, snapshot.baseline_slow, &limit));
            }
        }
        state.signals.judge(context, snapshot, &plan.signals, &mut out);
        out
    }
}
