//! Agreement: whether baseline and candidate agree less often than before the rollout.
//!
//! Before the first step, agreement is measured at 0%. The reference agreement is the lower end of its confidence
//! sequence, so that chance in that measurement cannot roll back a rollout. From then on the threshold is fixed: the
//! reference agreement minus the tolerated drop, or the floor if that is higher. A breach is evidence that agreement is
//! below the threshold. To advance, the step's own requests must prove that it is above.
//!
//! **Noise.** Baseline or candidate may respond differently to the same request (data that changed meanwhile, ties).
//! Such disagreement is not the candidate's fault. The measured baseline contains it. The floor is lowered by the noise
//! that was measured; and when noise is proven to have risen since, the threshold is lowered by the proven rise before
//! a rollback.
//!
//! **Unit.** The request, by the scorer's counters. Where only items are counted, the evaluation: its items belong to
//! many requests, and the share among them is one value. The unit is fixed with the baseline, since a mean over
//! requests is not the same number as a mean over items.

use serde::{Deserialize, Serialize};
use stats::bounded::{Bets, Direction, lower_bound, upper_bound};
use stats::moments::Moments;

use super::claim_monitor::ClaimMonitor;
use super::{EvaluationContext, GATE_EVIDENCE, rolls_back};
use crate::decision::{Check, CheckOutcome, CheckResult, Unit};
use crate::format::{count, percent};
use crate::plan::{Agreement, Baseline};
use crate::snapshot::{ItemCounts, SystemSnapshot};

/// Part of the error rate for the baseline's bound.
const BASELINE_PART: f64 = 0.1;
/// Requests between two starts of tests within a step.
const RESTART_REQUESTS: f64 = 100.0;
/// Noise counts once this many requests were repeated.
const NOISE_REQUESTS: f64 = 100.0;

/// Evidence on agreement over a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgreementState {
    unit: Unit,
    evaluations: Moments,
    items: Option<(f64, f64)>,
    from: Option<Moments>,
    noise_from: Option<Moments>,
    baseline: Option<MeasuredBaseline>,
    watch: ClaimMonitor,
    /// Start of the count that is only displayed, while there is no baseline.
    #[serde(default)]
    displayed_from: Option<Moments>,
    #[serde(skip)]
    gate: Option<(f64, Bets)>,
}

/// The threshold and noise that were fixed with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct MeasuredBaseline {
    threshold: f64,
    noise_at_most: f64,
}

impl Default for AgreementState {
    /// No evidence yet.
    fn default() -> Self {
        Self {
            unit: Unit::Evaluations,
            evaluations: Moments::NONE,
            items: None,
            from: None,
            noise_from: None,
            baseline: None,
            watch: ClaimMonitor::new(RESTART_REQUESTS),
            displayed_from: None,
            gate: None,
        }
    }
}

impl AgreementState {
    /// New tests against the same baseline.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { from: None, watch: ClaimMonitor::new(RESTART_REQUESTS), ..self.clone() }
    }

    /// Adds the counters of an evaluation. Returns the totals in the unit of the check, `None` when they cannot be
    /// read.
    fn totals(&mut self, snapshot: &SystemSnapshot) -> Option<Moments> {
        if let Some(requests) = snapshot.requests
            && (self.unit == Unit::Requests || self.baseline.is_none())
        {
            if self.unit != Unit::Requests {
                self.unit = Unit::Requests;
                self.from = None;
            }
            return Some(requests);
        }
        if self.unit == Unit::Requests {
            return None;
        }
        let ItemCounts { agree, disagree } = snapshot.items?;
        let (before_agree, before_disagree) = self.items.unwrap_or((agree, disagree));
        self.items = Some((agree, disagree));
        let (agree, disagree) = ((agree - before_agree).max(0.0), (disagree - before_disagree).max(0.0));
        if agree + disagree > 0.0 {
            self.evaluations.push(agree / (agree + disagree));
        }
        Some(self.evaluations)
    }

    /// The result while the baseline is measured.
    pub fn measure_baseline(
        &mut self,
        context: EvaluationContext,
        snapshot: &SystemSnapshot,
        rule: &Agreement,
        baseline: &Baseline,
    ) -> CheckResult {
        let blocks_advance = true;
        let Some(totals) = self.totals(snapshot) else {
            return CheckResult::no_data(
                Check::Agreement,
                self.unit,
                blocks_advance,
                "cannot read the counters of agreement",
            );
        };
        let here = totals.since(*self.from.get_or_insert(totals));
        if let (Some(noise), None) = (snapshot.noise, self.noise_from) {
            self.noise_from = Some(noise);
        }
        let Some(value) = here.mean() else {
            return CheckResult::no_data(
                Check::Agreement,
                self.unit,
                blocks_advance,
                "no request has been compared yet",
            );
        };
        let enough = here.count >= baseline.minimum_requests;
        let reason = if !context.explain {
            String::new()
        } else if enough {
            format!("agreement was {} of {} {}", percent(value), count(here.count), self.unit.as_str())
        } else {
            format!(
                "measuring the agreement at 0%: {} of {} {}, {} so far",
                count(here.count),
                count(baseline.minimum_requests),
                self.unit.as_str(),
                percent(value)
            )
        };
        CheckResult {
            check: Check::Agreement,
            outcome: if enough { CheckOutcome::Pass } else { CheckOutcome::Open },
            blocks_advance,
            value: Some(value),
            lower: context.explain.then(|| lower_bound(here, GATE_EVIDENCE)),
            upper: context.explain.then(|| upper_bound(here, GATE_EVIDENCE)),
            threshold: rule.floor,
            sample: here.count,
            unit: self.unit,
            reason,
        }
    }

    /// Begins a step; the first one fixes the baseline.
    pub fn step(&mut self, now_ms: u64, snapshot: &SystemSnapshot, rule: &Agreement, baseline: &Baseline) {
        let Some(totals) = self.totals(snapshot) else {
            self.from = None;
            return;
        };
        if self.baseline.is_none() {
            let here = totals.since(self.from.unwrap_or(totals));
            self.baseline = measured_baseline(here, snapshot.noise.zip(self.noise_from), rule, baseline);
            self.noise_from = snapshot.noise;
        }
        self.from = Some(totals);
        self.watch.step(now_ms, totals);
    }

    /// The result at a step.
    pub fn judge(&mut self, context: EvaluationContext, snapshot: &SystemSnapshot, rule: &Agreement) -> CheckResult {
        let blocks_advance = true;
        let Some(totals) = self.totals(snapshot) else {
            return CheckResult::no_data(
                Check::Agreement,
                self.unit,
                blocks_advance,
                "cannot read the counters of agreement",
            );
        };
        let Some(MeasuredBaseline { threshold, noise_at_most }) = self.baseline else {
            // Without a threshold there is nothing to judge, but the value can be displayed.
            let here = totals.since(*self.displayed_from.get_or_insert(totals));
            let bounds = context.explain && here.count > 0.0;
            let reason = "no reference agreement: start a rollout at 0%, or set baseline.agreement in the plan";
            return CheckResult {
                value: here.mean(),
                lower: bounds.then(|| lower_bound(here, GATE_EVIDENCE)),
                upper: bounds.then(|| upper_bound(here, GATE_EVIDENCE)),
                sample: here.count,
                ..CheckResult::no_data(Check::Agreement, self.unit, blocks_advance, reason)
            };
        };
        if self.from.is_none() {
            // The step began while the counters could not be read.
            self.from = Some(totals);
            self.watch.step(context.now_ms, totals);
        }
        let here = totals.since(self.from.unwrap_or(totals));
        let alpha = rule.alpha * (1.0 - BASELINE_PART);
        let alarm = self.watch.alarm(context.now_ms, totals, Direction::Below, threshold, alpha);
        let fallen = alarm.filter(|test| {
            let rise = self.noise_rise(snapshot, noise_at_most);
            rise <= 0.0 || Bets::new(Direction::Below, threshold - rise).reaches(test.moments, test.required)
        });
        let outcome = if fallen.is_some() {
            CheckOutcome::Breach
        } else if here.count == 0.0 {
            CheckOutcome::NoData
        } else if self.shown_above(here, threshold) {
            CheckOutcome::Pass
        } else {
            CheckOutcome::Open
        };
        let (shown, required) = fallen.map_or((here, GATE_EVIDENCE), |test| (test.moments, test.required));
        let mut result = CheckResult {
            check: Check::Agreement,
            outcome,
            blocks_advance,
            value: shown.mean(),
            lower: context.explain.then(|| lower_bound(shown, GATE_EVIDENCE)),
            upper: context.explain.then(|| upper_bound(shown, required)),
            threshold: Some(threshold),
            sample: shown.count,
            unit: self.unit,
            reason: String::new(),
        };
        if context.explain {
            result.reason = reason(&result, rolls_back(rule.on_breach));
        }
        result
    }

    fn shown_above(&mut self, here: Moments, threshold: f64) -> bool {
        let (_, bets) = match self.gate.take() {
            Some((held, bets)) if held == threshold => self.gate.insert((held, bets)),
            _ => self.gate.insert((threshold, Bets::new(Direction::Above, threshold))),
        };
        bets.reaches(here, GATE_EVIDENCE)
    }

    /// The proven rise of noise since the baseline.
    fn noise_rise(&self, snapshot: &SystemSnapshot, at_most: f64) -> f64 {
        let Some((now, then)) = snapshot.noise.zip(self.noise_from) else { return 0.0 };
        (lower_bound(now.since(then).mirrored(), GATE_EVIDENCE) - at_most).max(0.0)
    }
}

/// The threshold that follows from the baseline's measurements.
fn measured_baseline(
    here: Moments,
    noise: Option<(Moments, Moments)>,
    rule: &Agreement,
    baseline: &Baseline,
) -> Option<MeasuredBaseline> {
    let required = -(rule.alpha * BASELINE_PART).ln();
    let lower = match baseline.agreement {
        Some(known) => Some(known),
        None => (here.count > 0.0).then(|| lower_bound(here, required)),
    };
    let noise = noise.map(|(now, then)| now.since(then)).filter(|noise| noise.count >= NOISE_REQUESTS);
    let noise_at_most = noise.map_or(0.0, |noise| upper_bound(noise.mirrored(), required));
    let drop = lower.map(|lower| lower - rule.tolerated_drop);
    let floor = rule.floor.map(|floor| floor - noise_at_most);
    let threshold = match (drop, floor) {
        (Some(drop), Some(floor)) => drop.max(floor),
        (one, other) => one.or(other)?,
    };
    Some(MeasuredBaseline { threshold: threshold.clamp(0.0, 1.0), noise_at_most })
}

fn reason(result: &CheckResult, rolls_back: bool) -> String {
    let (Some(value), Some(lower), Some(upper), Some(threshold)) =
        (result.value, result.lower, result.upper, result.threshold)
    else {
        return "no request has been compared at this step yet".to_owned();
    };
    let measured = format!("{} of {} {}", percent(value), count(result.sample), result.unit.as_str());
    match result.outcome {
        CheckOutcome::Breach => {
            let end = if rolls_back { "" } else { "; the plan holds the step for that" };
            format!("agreement has fallen: {measured}, at most {}, below {}{end}", percent(upper), percent(threshold))
        }
        CheckOutcome::Pass => {
            format!("agreement is {measured}, at least {}, above {}", percent(lower), percent(threshold))
        }
        _ => format!(
            "agreement is {measured}, between {} and {}: not yet proven to be above {}",
            percent(lower),
            percent(upper),
            percent(threshold)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn without_a_baseline_agreement_is_displayed_and_not_judged() {
        let plan = Plan::parse("").unwrap();
        let rule = plan.agreement.unwrap();
        let mut state = AgreementState::default();
        let mut context = |agree: f64, disagree: f64| {
            let snapshot = SystemSnapshot { items: Some(ItemCounts { agree, disagree }), ..SystemSnapshot::default() };
            state.judge(EvaluationContext { now_ms: 0, share: Some(0.0), explain: true }, &snapshot, &rule)
        };
        assert_eq!((context(0.0, 0.0).value, context(0.0, 0.0).lower), (None, None), "no data is not 0%");
        for _ in 0..50 {
            context(0.0, 0.0);
        }
        let judged = context(90.0, 10.0);
        assert_eq!((judged.outcome, judged.value, judged.threshold), (CheckOutcome::NoData, Some(0.9), None));
        assert!(judged.lower.unwrap() < 0.9 && judged.upper.unwrap() > 0.9 && judged.sample > 0.0, "{judged:?}");
    }
}
