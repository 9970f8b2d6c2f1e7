//! Sample ratio: whether the split of users between the arms fits the share. See [`stats::ratio`].
//!
//! Each step is a test of its own, and so is each time that the scorer restarts its count or keeps a smaller sample.
//! Without the scorer's count of users, the gateways' count of requests is used, each as a fraction of a user.

use contract::evidence::Evidence;
use serde::{Deserialize, Serialize};
use stats::ratio::{Split, bounds, log_evidence};
use stats::spending::Spending;

use super::{EvaluationContext, GATE_EVIDENCE};
use crate::decision::{Check, CheckOutcome, CheckResult, Unit};
use crate::format::{count, percent};
use crate::plan::SampleRatio;
use crate::snapshot::PartCount;

/// Part of the error rate for planned tests, one for each step.
const PLANNED_PART: f64 = 0.9;

/// Tests of the split over a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SampleRatioState {
    spending: Spending,
    test: Option<Test>,
    requests_from: Option<PartCount>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Test {
    /// Start of the scorer's count and its sampling rate (one in so many); `None` when requests are counted.
    users: Option<(u64, u64)>,
    counted: f64,
    price: f64,
}

impl SampleRatioState {
    /// Tests for a rollout of `steps` steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            spending: Spending::even(u32::try_from(steps).unwrap_or(u32::MAX), PLANNED_PART),
            test: None,
            requests_from: None,
        }
    }

    /// Begins a step.
    pub fn step(&mut self, requests: Option<PartCount>) {
        self.test = None;
        self.requests_from = requests;
    }

    /// The result at a step whose counts by arm start at `settled_ms`.
    pub fn judge(
        &mut self,
        context: EvaluationContext,
        settled_ms: Option<u64>,
        evidence: Option<&Evidence>,
        requests: Option<PartCount>,
        rule: &SampleRatio,
    ) -> CheckResult {
        let none = |reason: &str| CheckResult::no_data(Check::SampleRatio, Unit::Users, true, reason);
        let Some(wanted) = context.share else { return none("the share is not known") };
        if wanted <= 0.0 || wanted >= 1.0 {
            let mut result = none("all users belong in one arm: there is no split to judge");
            result.blocks_advance = false;
            return result;
        }
        let Some(settled_ms) = settled_ms else { return none("the share has just changed") };
        let by_user = evidence.filter(|evidence| evidence.since_ms >= settled_ms);
        let (split, users, unit) = match (by_user, requests) {
            (Some(evidence), _) => {
                #[allow(clippy::cast_precision_loss)]
                let split = Split { model: evidence.users.model as f64, rule: evidence.users.rule as f64 };
                (split, Some((evidence.since_ms, evidence.users.sampled_one_in)), Unit::Users)
            }
            (None, Some(requests)) => {
                let here = requests.since(*self.requests_from.get_or_insert(requests));
                let weight = 1.0 / rule.requests_per_user;
                (Split { model: here.part * weight, rule: (here.all - here.part) * weight }, None, Unit::Requests)
            }
            (None, None) => return none("cannot read users or requests by arm"),
        };
        let counted = split.model + split.rule;
        let price = match self.test {
            Some(test) if test.users == users && counted >= test.counted => test.price,
            None => self.spending.planned(),
            Some(_) => self.spending.spare(),
        };
        self.test = Some(Test { users, counted, price });
        let Some(value) = split.share() else { return none("no user has been seen at this step yet") };
        let required = -rule.alpha.ln() + price;
        let breach = log_evidence(split, wanted) >= required;
        let interval = context.explain.then(|| bounds(split, if breach { required } else { GATE_EVIDENCE }));
        let sample = if unit == Unit::Requests { counted * rule.requests_per_user } else { counted };
        let reason = interval.map_or_else(String::new, |(lower, upper)| {
            let observed =
                format!("{} of {} {} are in the candidate's arm", percent(value), count(sample), unit.as_str());
            let wanted = percent(wanted);
            if breach {
                format!(
                    "{observed} ({} to {}), but the share is {wanted}: events of one arm are probably being lost",
                    percent(lower),
                    percent(upper)
                )
            } else {
                format!("{observed}, the share is {wanted}")
            }
        });
        CheckResult {
            check: Check::SampleRatio,
            outcome: if breach { CheckOutcome::Breach } else { CheckOutcome::Pass },
            blocks_advance: true,
            value: Some(value),
            lower: interval.map(|(lower, _)| lower),
            upper: interval.map(|(_, upper)| upper),
            threshold: Some(wanted),
            sample,
            unit,
            reason,
        }
    }
}
