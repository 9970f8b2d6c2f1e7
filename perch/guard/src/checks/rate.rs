//! Rates of canary requests: the share that fell back, and the share that was slow.
//!
//! The unit is the evaluation (see [`super`]), so an outage of ten seconds is two or three values, not a thousand. For
//! slow responses, the baseline's own share at the same time is added to the limit: if the application itself is slow,
//! a rollback would not help.

use serde::{Deserialize, Serialize};
use stats::bounded::{Bets, Direction, lower_bound, upper_bound};
use stats::moments::Moments;

use super::claim_monitor::ClaimMonitor;
use super::{EvaluationContext, GATE_EVIDENCE, rolls_back};
use crate::decision::{Check, CheckOutcome, CheckResult, Unit};
use crate::format::{count, percent};
use crate::plan::OnBreach;
use crate::snapshot::PartCount;

/// Evaluations between two starts of tests within a step.
const RESTART_EVALUATIONS: f64 = 12.0;

/// The limit of a rate.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// The check that it belongs to.
    pub check: Check,
    /// What is counted, as in "canary requests fell back to the baseline".
    pub description: &'static str,
    /// Highest allowed rate, 0..1.
    pub at_most: f64,
    /// Probability of a false breach over the rollout.
    pub alpha: f64,
    /// What a breach does.
    pub on_breach: OnBreach,
}

/// Evidence on one rate over a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RateState {
    evaluations: Moments,
    last: Option<PartCount>,
    from: Moments,
    part_from: Option<PartCount>,
    baseline_from: Option<PartCount>,
    watch: ClaimMonitor,
}

impl Default for RateState {
    /// No evidence yet.
    fn default() -> Self {
        Self {
            evaluations: Moments::NONE,
            last: None,
            from: Moments::NONE,
            part_from: None,
            baseline_from: None,
            watch: ClaimMonitor::new(RESTART_EVALUATIONS),
        }
    }
}

impl RateState {
    /// Adds the counters of an evaluation.
    fn add(&mut self, part: PartCount) {
        let new = part.since(self.last.unwrap_or(part));
        self.last = Some(part);
        if let Some(share) = new.share() {
            self.evaluations.push(share);
        }
    }

    /// Begins a step.
    pub fn step(&mut self, now_ms: u64, canary: Option<PartCount>, baseline: Option<PartCount>) {
        match canary {
            Some(canary) => self.add(canary),
            // Counts until the next reading belong to both steps.
            None => self.last = None,
        }
        self.from = self.evaluations;
        self.part_from = canary;
        self.baseline_from = baseline;
        self.watch.step(now_ms, self.evaluations);
    }

    /// The result at a step. `baseline` is the same rate of the baseline's responses, which is added to the limit.
    pub fn judge(
        &mut self,
        context: EvaluationContext,
        canary: Option<PartCount>,
        baseline: Option<PartCount>,
        limit: &RateLimit,
    ) -> CheckResult {
        let none = |reason: &str| CheckResult::no_data(limit.check, Unit::Evaluations, true, reason);
        let Some(canary) = canary else { return none("cannot read the canary's counters") };
        self.add(canary);
        let at_step = canary.since(*self.part_from.get_or_insert(canary));
        let excuse = baseline
            .map(|baseline| baseline.since(*self.baseline_from.get_or_insert(baseline)))
            .and_then(PartCount::share)
            .unwrap_or(0.0);
        let alarm = self.watch.alarm(context.now_ms, self.evaluations, Direction::Above, limit.at_most, limit.alpha);
        let risen = alarm.filter(|test| {
            excuse <= 0.0
                || Bets::new(Direction::Above, (limit.at_most + excuse).min(1.0)).reaches(test.moments, test.required)
        });
        let Some(value) = at_step.share() else { return none("no canary request at this step yet") };
        let here = self.evaluations.since(self.from);
        let allowed = limit.at_most + excuse;
        let outcome = match risen {
            Some(_) => CheckOutcome::Breach,
            None if value <= allowed => CheckOutcome::Pass,
            None => CheckOutcome::Open,
        };
        let (shown, required) = risen.map_or((here, GATE_EVIDENCE), |test| (test.moments, test.required));
        let value = risen.and_then(|test| test.moments.mean()).unwrap_or(value);
        let mut result = CheckResult {
            check: limit.check,
            outcome,
            blocks_advance: true,
            value: Some(value),
            lower: context.explain.then(|| lower_bound(shown, required)),
            upper: context.explain.then(|| upper_bound(shown, GATE_EVIDENCE)),
            threshold: Some(allowed),
            sample: shown.count,
            unit: Unit::Evaluations,
            reason: String::new(),
        };
        if context.explain {
            result.reason = reason(&result, value, allowed, excuse, limit);
        }
        result
    }
}

fn reason(result: &CheckResult, value: f64, allowed: f64, excuse: f64, limit: &RateLimit) -> String {
    let extra = if excuse > 0.0 {
        format!(" (of which {} is the baseline's own rate)", percent(excuse))
    } else {
        String::new()
    };
    match result.outcome {
        CheckOutcome::Breach => format!(
            "{} of {} over {} evaluations, at least {}, above {}{extra}{}",
            percent(value),
            limit.description,
            count(result.sample),
            percent(result.lower.unwrap_or(0.0)),
            percent(allowed),
            if rolls_back(limit.on_breach) { "" } else { "; the plan holds the step for that" }
        ),
        CheckOutcome::Pass => {
            format!("{} of {}, allowed {}{extra}", percent(value), limit.description, percent(allowed))
        }
        _ => format!(
            "{} of {}, above {}{extra}, which may still be chance",
            percent(value),
            limit.description,
            percent(allowed)
        ),
    }
}
