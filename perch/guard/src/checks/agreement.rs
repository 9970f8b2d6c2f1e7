//! Has agreement fallen?
//!
//! Before the first step agreement is learnt at 0%: its baseline is the lower end of its confidence sequence, so that
//! chance in the baseline cannot roll a ramp back. From then on the threshold is fixed: the baseline less the tolerated
//! drop, or the floor if that is higher. A breach is evidence that agreement is below the threshold; to advance it must
//! be shown, on the step's own requests, to be above it.
//!
//! **Noise.** A side asked twice may answer differently (a store that moves on, ties). That much disagreement is the
//! system's own. In the baseline it is contained. The floor is lowered by what was measured of it; and when noise has
//! been shown to have risen since the baseline, the threshold is lowered by the proven rise before anything is rolled
//! back.
//!
//! **Unit.** The request, by the scorer's counters. Where only items are counted, the look: its items are of many
//! requests, and the share among them is one value. The unit is settled with the baseline, since a mean over requests
//! and one over items are not the same number.

use serde::{Deserialize, Serialize};
use stats::bounded::{Bets, Side, lower_bound, upper_bound};
use stats::moments::Moments;

use super::watch::Watch;
use super::{GATE_EVIDENCE, Look, rolls_back};
use crate::decision::{Check, Judgement, Unit, Verdict};
use crate::observation::{Items, Observation};
use crate::plan::{Agreement, Baseline};
use crate::words::{count, percent};

/// Part of the error rate that the baseline's bound may use.
const BASELINE_PART: f64 = 0.1;
/// Requests between two starts within a step.
const RESTART_REQUESTS: f64 = 100.0;
/// Noise is taken into account once this many requests were asked twice.
const NOISE_REQUESTS: f64 = 100.0;

/// Evidence on agreement over a ramp.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    unit: Unit,
    looks: Moments,
    items: Option<(f64, f64)>,
    from: Option<Moments>,
    noise_from: Option<Moments>,
    learnt: Option<Learnt>,
    watch: Watch,
    /// Where counting began that is only shown, while there is no baseline.
    #[serde(default)]
    shown_from: Option<Moments>,
    #[serde(skip)]
    gate: Option<(f64, Bets)>,
}

/// The settled baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Learnt {
    threshold: f64,
    noise_at_most: f64,
}

impl Default for State {
    /// Nothing seen yet.
    fn default() -> Self {
        Self {
            unit: Unit::Looks,
            looks: Moments::NONE,
            items: None,
            from: None,
            noise_from: None,
            learnt: None,
            watch: Watch::new(RESTART_REQUESTS),
            shown_from: None,
            gate: None,
        }
    }
}

impl State {
    /// New tests against the baseline that was settled.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { from: None, watch: Watch::new(RESTART_REQUESTS), ..self.clone() }
    }

    /// Takes in a look's counters; the totals in the unit that counts, `None` when they cannot be read.
    fn totals(&mut self, seen: &Observation) -> Option<Moments> {
        if let Some(requests) = seen.requests
            && (self.unit == Unit::Requests || self.learnt.is_none())
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
        let Items { agree, differ } = seen.items?;
        let (before_agree, before_differ) = self.items.unwrap_or((agree, differ));
        self.items = Some((agree, differ));
        let (agree, differ) = ((agree - before_agree).max(0.0), (differ - before_differ).max(0.0));
        if agree + differ > 0.0 {
            self.looks.push(agree / (agree + differ));
        }
        Some(self.looks)
    }

    /// The judgement while the baseline is learnt, `since_ms` ago.
    pub fn learn(&mut self, look: Look, seen: &Observation, rule: &Agreement, baseline: &Baseline) -> Judgement {
        let needed = true;
        let Some(totals) = self.totals(seen) else {
            return Judgement::no_data(Check::Agreement, self.unit, needed, "agreement cannot be read");
        };
        let here = totals.since(*self.from.get_or_insert(totals));
        if let (Some(noise), None) = (seen.noise, self.noise_from) {
            self.noise_from = Some(noise);
        }
        let Some(value) = here.mean() else {
            return Judgement::no_data(Check::Agreement, self.unit, needed, "no judged request yet");
        };
        let enough = here.count >= baseline.minimum_requests;
        let reason = if !look.in_words {
            String::new()
        } else if enough {
            format!("agreement was {} of {} {}", percent(value), count(here.count), self.unit.as_str())
        } else {
            format!(
                "learning the baseline: {} of {} {}, agreement {} so far",
                count(here.count),
                count(baseline.minimum_requests),
                self.unit.as_str(),
                percent(value)
            )
        };
        Judgement {
            check: Check::Agreement,
            verdict: if enough { Verdict::Pass } else { Verdict::Open },
            needed,
            value: Some(value),
            lower: look.in_words.then(|| lower_bound(here, GATE_EVIDENCE)),
            upper: look.in_words.then(|| upper_bound(here, GATE_EVIDENCE)),
            threshold: rule.floor,
            sample: here.count,
            unit: self.unit,
            reason,
        }
    }

    /// A step begins; the first one settles the baseline.
    pub fn step(&mut self, now_ms: u64, seen: &Observation, rule: &Agreement, baseline: &Baseline) {
        let Some(totals) = self.totals(seen) else {
            self.from = None;
            return;
        };
        if self.learnt.is_none() {
            let here = totals.since(self.from.unwrap_or(totals));
            self.learnt = settle(here, seen.noise.zip(self.noise_from), rule, baseline);
            self.noise_from = seen.noise;
        }
        self.from = Some(totals);
        self.watch.step(now_ms, totals);
    }

    /// The judgement at a step.
    pub fn judge(&mut self, look: Look, seen: &Observation, rule: &Agreement) -> Judgement {
        let needed = true;
        let Some(totals) = self.totals(seen) else {
            return Judgement::no_data(Check::Agreement, self.unit, needed, "agreement cannot be read");
        };
        let Some(Learnt { threshold, noise_at_most }) = self.learnt else {
            // Nothing can be judged, but what agreement is can be said.
            let here = totals.since(*self.shown_from.get_or_insert(totals));
            let bounds = look.in_words && here.count > 0.0;
            let reason = "no baseline to hold agreement against: start a ramp at 0%, or give baseline.agreement";
            return Judgement {
                value: here.mean(),
                lower: bounds.then(|| lower_bound(here, GATE_EVIDENCE)),
                upper: bounds.then(|| upper_bound(here, GATE_EVIDENCE)),
                sample: here.count,
                ..Judgement::no_data(Check::Agreement, self.unit, needed, reason)
            };
        };
        if self.from.is_none() {
            // The step began while nothing could be read.
            self.from = Some(totals);
            self.watch.step(look.now_ms, totals);
        }
        let here = totals.since(self.from.unwrap_or(totals));
        let alpha = rule.alpha * (1.0 - BASELINE_PART);
        let alarm = self.watch.alarm(look.now_ms, totals, Side::Below, threshold, alpha);
        let fallen = alarm.filter(|test| {
            let rise = self.noise_rise(seen, noise_at_most);
            rise <= 0.0 || Bets::new(Side::Below, threshold - rise).reaches(test.seen, test.required)
        });
        let verdict = if fallen.is_some() {
            Verdict::Breach
        } else if here.count == 0.0 {
            Verdict::NoData
        } else if self.shown_above(here, threshold) {
            Verdict::Pass
        } else {
            Verdict::Open
        };
        let (shown, required) = fallen.map_or((here, GATE_EVIDENCE), |test| (test.seen, test.required));
        let mut judgement = Judgement {
            check: Check::Agreement,
            verdict,
            needed,
            value: shown.mean(),
            lower: look.in_words.then(|| lower_bound(shown, GATE_EVIDENCE)),
            upper: look.in_words.then(|| upper_bound(shown, required)),
            threshold: Some(threshold),
            sample: shown.count,
            unit: self.unit,
            reason: String::new(),
        };
        if look.in_words {
            judgement.reason = words(&judgement, rolls_back(rule.on_breach));
        }
        judgement
    }

    fn shown_above(&mut self, here: Moments, threshold: f64) -> bool {
        let (_, bets) = match self.gate.take() {
            Some((held, bets)) if held == threshold => self.gate.insert((held, bets)),
            _ => self.gate.insert((threshold, Bets::new(Side::Above, threshold))),
        };
        bets.reaches(here, GATE_EVIDENCE)
    }

    /// By how much a side's disagreement with itself has been shown to have risen since the baseline.
    fn noise_rise(&self, seen: &Observation, at_most: f64) -> f64 {
        let Some((now, then)) = seen.noise.zip(self.noise_from) else { return 0.0 };
        (lower_bound(now.since(then).mirrored(), GATE_EVIDENCE) - at_most).max(0.0)
    }
}

/// The threshold that a baseline gives.
fn settle(here: Moments, noise: Option<(Moments, Moments)>, rule: &Agreement, baseline: &Baseline) -> Option<Learnt> {
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
    Some(Learnt { threshold: threshold.clamp(0.0, 1.0), noise_at_most })
}

fn words(judgement: &Judgement, rolls_back: bool) -> String {
    let (Some(value), Some(lower), Some(upper), Some(threshold)) =
        (judgement.value, judgement.lower, judgement.upper, judgement.threshold)
    else {
        return "no judged request at this step yet".to_owned();
    };
    let seen = format!("{} of {} {}", percent(value), count(judgement.sample), judgement.unit.as_str());
    match judgement.verdict {
        Verdict::Breach => {
            let end = if rolls_back { "" } else { "; the plan holds for that" };
            format!("agreement has fallen: {seen}, at most {}, below {}{end}", percent(upper), percent(threshold))
        }
        Verdict::Pass => format!("agreement is {seen}, at least {}, above {}", percent(lower), percent(threshold)),
        _ => format!(
            "agreement is {seen}, between {} and {}: not yet shown to be above {}",
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
    fn without_a_baseline_agreement_is_said_and_not_judged() {
        let plan = Plan::parse("").unwrap();
        let rule = plan.agreement.unwrap();
        let mut state = State::default();
        let mut look = |agree: f64, differ: f64| {
            let seen = Observation { items: Some(Items { agree, differ }), ..Observation::default() };
            state.judge(Look { now_ms: 0, share: Some(0.0), in_words: true }, &seen, &rule)
        };
        assert_eq!((look(0.0, 0.0).value, look(0.0, 0.0).lower), (None, None), "no data is not 0%");
        for _ in 0..50 {
            look(0.0, 0.0);
        }
        let judged = look(90.0, 10.0);
        assert_eq!((judged.verdict, judged.value, judged.threshold), (Verdict::NoData, Some(0.9), None));
        assert!(judged.lower.unwrap() < 0.9 && judged.upper.unwrap() > 0.9 && judged.sample > 0.0, "{judged:?}");
    }
}
