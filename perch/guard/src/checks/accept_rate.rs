//! Accept rates: whether users accept the candidate's responses less often than the baseline's.
//!
//! Only feedback on responses of the present step counts, from both arms at the same time, because a change of the
//! share changes which users are in which arm. So each step is a test of its own, and so is each restart of the
//! scorer's count.

use contract::evidence::Evidence;
use serde::{Deserialize, Serialize};
use stats::clusters::Difference;
use stats::spending::Spending;

use super::{EvaluationContext, GATE_EVIDENCE, rolls_back};
use crate::decision::{Check, CheckOutcome, CheckResult, Unit};
use crate::format::{count, percent, points};
use crate::plan::AcceptRate;

/// Size of a relevant difference; the test is most powerful for differences of about this size.
const PRIOR: f64 = 0.05;
/// Part of the error rate for planned tests, one for each step.
const PLANNED_PART: f64 = 0.9;

/// Tests of accept rates over a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptRateState {
    spending: Spending,
    test: Option<Test>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Test {
    since_ms: u64,
    users: u64,
    price: f64,
}

impl AcceptRateState {
    /// Tests for a rollout of `steps` steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { spending: Spending::even(u32::try_from(steps).unwrap_or(u32::MAX), PLANNED_PART), test: None }
    }

    /// Begins a step.
    pub fn step(&mut self) {
        self.test = None;
    }

    /// The result at a step whose counts by arm start at `settled_ms`.
    pub fn judge(
        &mut self,
        context: EvaluationContext,
        settled_ms: Option<u64>,
        evidence: Option<&Evidence>,
        rule: &AcceptRate,
    ) -> CheckResult {
        let none = |reason: &str| CheckResult::no_data(Check::AcceptRate, Unit::Users, rule.required, reason);
        if context.share.is_some_and(|share| share <= 0.0 || share >= 1.0) {
            let mut result = none("all users are in one arm: there is nothing to compare");
            result.blocks_advance = false;
            return result;
        }
        let Some(settled_ms) = settled_ms else { return none("the share has just changed") };
        let Some(evidence) = evidence.filter(|evidence| evidence.since_ms >= settled_ms) else {
            return none("cannot read the scorer's evidence");
        };
        let Some(feedback) = evidence.feedback else { return none("the feedback store does not respond") };
        let users = feedback.rule.users.saturating_add(feedback.model.users);
        let price = match self.test {
            Some(test) if test.since_ms == evidence.since_ms && users >= test.users => test.price,
            None => self.spending.planned(),
            Some(_) => self.spending.spare(),
        };
        self.test = Some(Test { since_ms: evidence.since_ms, users, price });
        let Some(difference) = Difference::of(&feedback.rule, &feedback.model, PRIOR) else {
            return none("there is not yet feedback in both arms");
        };
        if difference.users() < rule.minimum_users {
            let mut result = none("");
            result.sample = difference.users();
            if context.explain {
                result.reason = format!(
                    "feedback of {} users in the smaller arm, at least {} are required",
                    count(difference.users()),
                    count(rule.minimum_users)
                );
            }
            return result;
        }
        let threshold = -rule.tolerated_drop;
        let required = -rule.alpha.ln() + price;
        let outcome = if difference.log_evidence_below(threshold) >= required {
            CheckOutcome::Breach
        } else if rule.required {
            let shown = difference.lower_bound(GATE_EVIDENCE) >= threshold;
            if shown { CheckOutcome::Pass } else { CheckOutcome::Open }
        } else if difference.value() >= threshold {
            CheckOutcome::Pass
        } else {
            CheckOutcome::Open
        };
        let upper_needs = if outcome == CheckOutcome::Breach { required } else { GATE_EVIDENCE };
        let mut result = CheckResult {
            check: Check::AcceptRate,
            outcome,
            // Arms are sticky, so the users of a small share may differ by chance for good. A difference that is not
            // proven must not hold the rollout for ever; a larger share will decide it.
            blocks_advance: rule.required,
            value: Some(difference.value()),
            lower: context.explain.then(|| difference.lower_bound(GATE_EVIDENCE)),
            upper: context.explain.then(|| difference.upper_bound(upper_needs)),
            threshold: Some(threshold),
            sample: difference.users(),
            unit: Unit::Users,
            reason: String::new(),
        };
        if context.explain {
            result.reason = reason(&result, &difference, rule);
        }
        result
    }
}

fn reason(result: &CheckResult, difference: &Difference, rule: &AcceptRate) -> String {
    let observed = format!(
        "{} of the candidate's responses accepted ({} users), {} of the baseline's ({} users)",
        percent(difference.model.value),
        count(difference.model.users),
        percent(difference.rule.value),
        count(difference.rule.users)
    );
    let (lower, upper) = (result.lower.unwrap_or(-1.0), result.upper.unwrap_or(1.0));
    match result.outcome {
        CheckOutcome::Breach => format!(
            "users accept the candidate less often: {observed}, a difference of {} at best, below {}{}",
            points(upper),
            points(-rule.tolerated_drop),
            if rolls_back(rule.on_breach) { "" } else { "; the plan holds the step for that" }
        ),
        CheckOutcome::Pass => format!("{observed}, a difference of {} to {}", points(lower), points(upper)),
        _ => format!("{observed}, a difference of {} to {}: not yet decided", points(lower), points(upper)),
    }
}
