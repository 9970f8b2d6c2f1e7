//! Do users split between the arms as the switch says? See [`stats::ratio`].
//!
//! Each step is a test of its own, and so is each time that the scorer counts anew or keeps a smaller sample. Without
//! the scorer's count of users, the gateways' count of requests serves, each as a fraction of a user.

use contract::evidence::Evidence;
use serde::{Deserialize, Serialize};
use stats::ratio::{Split, bounds, log_evidence};
use stats::spending::Spending;

use super::{GATE_EVIDENCE, Look};
use crate::decision::{Check, Judgement, Unit, Verdict};
use crate::observation::Part;
use crate::plan::SampleRatio;
use crate::words::{count, percent};

/// Part of the error rate for the tests that are planned, one for each step.
const PLANNED_PART: f64 = 0.9;

/// Tests of the split over a ramp.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    spending: Spending,
    test: Option<Test>,
    requests_from: Option<Part>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Test {
    /// Since when the scorer counts, and how small its sample is; `None` for requests.
    users: Option<(u64, u64)>,
    counted: f64,
    price: f64,
}

impl State {
    /// For a ramp of `steps` steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            spending: Spending::even(u32::try_from(steps).unwrap_or(u32::MAX), PLANNED_PART),
            test: None,
            requests_from: None,
        }
    }

    /// A step begins.
    pub fn step(&mut self, requests: Option<Part>) {
        self.test = None;
        self.requests_from = requests;
    }

    /// The judgement at a step whose counts are its own from `settled_ms` on.
    pub fn judge(
        &mut self,
        look: Look,
        settled_ms: Option<u64>,
        evidence: Option<&Evidence>,
        requests: Option<Part>,
        rule: &SampleRatio,
    ) -> Judgement {
        let none = |reason: &str| Judgement::no_data(Check::SampleRatio, Unit::Users, true, reason);
        let Some(wanted) = look.share else { return none("the wanted share is not known") };
        if wanted <= 0.0 || wanted >= 1.0 {
            let mut judgement = none("all users are wanted in one arm: there is no split to judge");
            judgement.needed = false;
            return judgement;
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
            (None, None) => return none("neither users nor requests by arm can be read"),
        };
        let counted = split.model + split.rule;
        let price = match self.test {
            Some(test) if test.users == users && counted >= test.counted => test.price,
            None => self.spending.planned(),
            Some(_) => self.spending.spare(),
        };
        self.test = Some(Test { users, counted, price });
        let Some(value) = split.share() else { return none("nobody has come at this step yet") };
        let required = -rule.alpha.ln() + price;
        let breach = log_evidence(split, wanted) >= required;
        let interval = look.in_words.then(|| bounds(split, if breach { required } else { GATE_EVIDENCE }));
        let sample = if unit == Unit::Requests { counted * rule.requests_per_user } else { counted };
        let reason = interval.map_or_else(String::new, |(lower, upper)| {
            let seen = format!("{} of {} {} are in the model's arm", percent(value), count(sample), unit.as_str());
            let wanted = percent(wanted);
            if breach {
                format!(
                    "{seen} ({} to {}) where {wanted} are wanted: events of one arm get lost",
                    percent(lower),
                    percent(upper)
                )
            } else {
                format!("{seen}, {wanted} are wanted")
            }
        });
        Judgement {
            check: Check::SampleRatio,
            verdict: if breach { Verdict::Breach } else { Verdict::Pass },
            needed: true,
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
