//! Do people accept the model's answers less often than the rules'?
//!
//! Only feedback on answers of this step counts, and both arms at the same time: shares change between steps, and with
//! them who is in which arm. So each step is a test of its own, and so is each time that the scorer starts to count
//! anew.

use contract::evidence::Evidence;
use serde::{Deserialize, Serialize};
use stats::clusters::Difference;
use stats::spending::Spending;

use super::{GATE_EVIDENCE, Look, rolls_back};
use crate::decision::{Check, Judgement, Unit, Verdict};
use crate::plan::AcceptRate;
use crate::words::{count, percent, points};

/// Size of a difference that matters; the evidence is best for differences of about this size.
const PRIOR: f64 = 0.05;
/// Part of the error rate for the tests that are planned, one for each step.
const PLANNED_PART: f64 = 0.9;

/// Tests of accept rates over a ramp.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    spending: Spending,
    test: Option<Test>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Test {
    since_ms: u64,
    users: u64,
    price: f64,
}

impl State {
    /// For a ramp of `steps` steps.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { spending: Spending::even(u32::try_from(steps).unwrap_or(u32::MAX), PLANNED_PART), test: None }
    }

    /// A step begins.
    pub fn step(&mut self) {
        self.test = None;
    }

    /// The judgement at a step whose counts are its own from `settled_ms` on.
    pub fn judge(
        &mut self,
        look: Look,
        settled_ms: Option<u64>,
        evidence: Option<&Evidence>,
        rule: &AcceptRate,
    ) -> Judgement {
        let none = |reason: &str| Judgement::no_data(Check::AcceptRate, Unit::Users, rule.required, reason);
        if look.share.is_some_and(|share| share <= 0.0 || share >= 1.0) {
            let mut judgement = none("all users are in one arm: there is nothing to compare");
            judgement.needed = false;
            return judgement;
        }
        let Some(settled_ms) = settled_ms else { return none("the share has just changed") };
        let Some(evidence) = evidence.filter(|evidence| evidence.since_ms >= settled_ms) else {
            return none("the scorer's evidence cannot be read");
        };
        let Some(feedback) = evidence.feedback else { return none("the store of feedback does not answer") };
        let users = feedback.rule.users.saturating_add(feedback.model.users);
        let price = match self.test {
            Some(test) if test.since_ms == evidence.since_ms && users >= test.users => test.price,
            None => self.spending.planned(),
            Some(_) => self.spending.spare(),
        };
        self.test = Some(Test { since_ms: evidence.since_ms, users, price });
        let Some(difference) = Difference::of(&feedback.rule, &feedback.model, PRIOR) else {
            return none("no feedback in both arms yet");
        };
        if difference.users() < rule.minimum_users {
            let mut judgement = none("");
            judgement.sample = difference.users();
            if look.in_words {
                judgement.reason = format!(
                    "feedback of {} users in the smaller arm, judged from {} on",
                    count(difference.users()),
                    count(rule.minimum_users)
                );
            }
            return judgement;
        }
        let threshold = -rule.tolerated_drop;
        let required = -rule.alpha.ln() + price;
        let verdict = if difference.log_evidence_below(threshold) >= required {
            Verdict::Breach
        } else if rule.required {
            let shown = difference.lower_bound(GATE_EVIDENCE) >= threshold;
            if shown { Verdict::Pass } else { Verdict::Open }
        } else if difference.value() >= threshold {
            Verdict::Pass
        } else {
            Verdict::Open
        };
        let upper_needs = if verdict == Verdict::Breach { required } else { GATE_EVIDENCE };
        let mut judgement = Judgement {
            check: Check::AcceptRate,
            verdict,
            // With a sticky arm the users of a small share may differ by chance for good, so what is not shown to be worse
            // must not hold for ever; at a larger share it is settled.
            needed: rule.required,
            value: Some(difference.value()),
            lower: look.in_words.then(|| difference.lower_bound(GATE_EVIDENCE)),
            upper: look.in_words.then(|| difference.upper_bound(upper_needs)),
            threshold: Some(threshold),
            sample: difference.users(),
            unit: Unit::Users,
            reason: String::new(),
        };
        if look.in_words {
            judgement.reason = words(&judgement, &difference, rule);
        }
        judgement
    }
}

fn words(judgement: &Judgement, difference: &Difference, rule: &AcceptRate) -> String {
    let seen = format!(
        "{} of the model's answers accepted ({} users), {} of the rules' ({} users)",
        percent(difference.model.value),
        count(difference.model.users),
        percent(difference.rule.value),
        count(difference.rule.users)
    );
    let (lower, upper) = (judgement.lower.unwrap_or(-1.0), judgement.upper.unwrap_or(1.0));
    match judgement.verdict {
        Verdict::Breach => format!(
            "people accept the model less: {seen}, a difference of {} at best, below {}{}",
            points(upper),
            points(-rule.tolerated_drop),
            if rolls_back(rule.on_breach) { "" } else { "; the plan holds for that" }
        ),
        Verdict::Pass => format!("{seen}, a difference of {} to {}", points(lower), points(upper)),
        _ => format!("{seen}, a difference of {} to {}: not settled", points(lower), points(upper)),
    }
}
