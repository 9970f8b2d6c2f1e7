//! Signals: values that hold the rollout while they are past their limit, and do nothing else.

use serde::{Deserialize, Serialize};

use super::{EvaluationContext, GATE_EVIDENCE};
use crate::guard::decision::{Check, CheckOutcome, CheckResult, Unit};
use crate::guard::format::{count, percent};
use crate::guard::plan::Signals;
use crate::guard::snapshot::{PartCount, SystemSnapshot};
use crate::stats::bounded::{lower_bound, upper_bound};

/// Signals cover the last two and a half to five minutes.
const HALF_WINDOW_MS: u64 = 150_000;

/// Recent counts of the signals.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SignalState {
    unavailable: RecentCounts,
    dropped: RecentCounts,
}

/// A counter's recent past: totals at two times, at least half a window apart.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct RecentCounts {
    older: Option<(u64, PartCount)>,
    newer: Option<(u64, PartCount)>,
}

impl RecentCounts {
    fn add(&mut self, now_ms: u64, total: PartCount) -> PartCount {
        let (at_ms, _) = *self.newer.get_or_insert((now_ms, total));
        self.older.get_or_insert((now_ms, total));
        if now_ms.saturating_sub(at_ms) >= HALF_WINDOW_MS {
            self.older = self.newer.replace((now_ms, total));
        }
        self.older.map_or(PartCount::default(), |(_, older)| total.since(older))
    }
}

impl SignalState {
    /// Appends the result of every signal that has a limit.
    pub fn judge(
        &mut self,
        context: EvaluationContext,
        snapshot: &SystemSnapshot,
        limits: &Signals,
        out: &mut Vec<CheckResult>,
    ) {
        if let Some(least) = limits.availability {
            let recent = snapshot.unavailable.map(|total| self.unavailable.add(context.now_ms, total));
            let limit = SignalLimit {
                check: Check::Availability,
                most: 1.0 - least,
                description: "requests had no model available",
            };
            out.push(limit.judge(context, recent));
        }
        if let Some(most) = limits.dropped {
            let recent = snapshot.dropped.map(|total| self.dropped.add(context.now_ms, total));
            let limit = SignalLimit { check: Check::Dropped, most, description: "observations were dropped" };
            out.push(limit.judge(context, recent));
        }
        if let Some(most) = limits.noise {
            out.push(noise(context, snapshot, most));
        }
        if let Some(least) = limits.f1 {
            out.push(gauge(
                Check::F1,
                snapshot.f1,
                least,
                |value| value >= least,
                || format!("F1 of the serving model, at least {least} is required"),
            ));
        }
        if let Some(most) = limits.drift {
            let (feature, value) =
                snapshot.drift.as_ref().map_or(("", None), |(name, value)| (name.as_str(), Some(*value)));
            out.push(gauge(
                Check::Drift,
                value,
                most,
                |value| value <= most,
                || format!("population stability index of {feature}, at most {most} is allowed"),
            ));
        }
    }
}

struct SignalLimit {
    check: Check,
    most: f64,
    description: &'static str,
}

impl SignalLimit {
    fn judge(&self, context: EvaluationContext, recent: Option<PartCount>) -> CheckResult {
        let Some(recent) = recent else {
            return CheckResult::no_data(self.check, Unit::Requests, true, "cannot read the counters");
        };
        let Some(value) = recent.share() else {
            return CheckResult::no_data(self.check, Unit::Requests, true, "no request in the last minutes");
        };
        let past = value > self.most;
        let reason = if context.explain {
            format!(
                "{} of {} {} in the last minutes, allowed {}",
                percent(value),
                count(recent.all),
                self.description,
                percent(self.most)
            )
        } else {
            String::new()
        };
        CheckResult {
            outcome: if past { CheckOutcome::Breach } else { CheckOutcome::Pass },
            value: Some(value),
            threshold: Some(self.most),
            sample: recent.all,
            ..CheckResult::no_data(self.check, Unit::Requests, true, reason)
        }
    }
}

/// Noise is rare and its sample small, so its lower bound is compared with the limit.
fn noise(context: EvaluationContext, snapshot: &SystemSnapshot, most: f64) -> CheckResult {
    let none = |reason: &str| CheckResult::no_data(Check::Noise, Unit::Requests, false, reason);
    let Some(disagreement) = snapshot.noise.map(crate::stats::moments::Moments::mirrored) else {
        return none("no request is repeated");
    };
    let Some(value) = disagreement.mean() else { return none("no request has been repeated yet") };
    // Without reasons, the bound is computed only where it could matter.
    let worth = context.explain || value > most;
    let lower = if worth { lower_bound(disagreement, GATE_EVIDENCE) } else { 0.0 };
    let reason = if context.explain {
        format!(
            "responses to a repeated request differ on {} of {} requests, allowed {}",
            percent(value),
            count(disagreement.count),
            percent(most)
        )
    } else {
        String::new()
    };
    CheckResult {
        outcome: if lower > most { CheckOutcome::Breach } else { CheckOutcome::Pass },
        value: Some(value),
        lower: context.explain.then_some(lower),
        upper: context.explain.then(|| upper_bound(disagreement, GATE_EVIDENCE)),
        threshold: Some(most),
        sample: disagreement.count,
        ..none(&reason)
    }
}

fn gauge(
    check: Check,
    value: Option<f64>,
    limit: f64,
    good: impl Fn(f64) -> bool,
    what: impl Fn() -> String,
) -> CheckResult {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return CheckResult::no_data(check, Unit::Requests, false, "not measured");
    };
    CheckResult {
        outcome: if good(value) { CheckOutcome::Pass } else { CheckOutcome::Breach },
        value: Some(value),
        threshold: Some(limit),
        sample: 1.0,
        ..CheckResult::no_data(check, Unit::Requests, false, format!("{value:.3}: {}", what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_forgotten_after_the_window() {
        let mut recent = RecentCounts::default();
        let total = |all, part| PartCount { all, part };
        recent.add(0, total(0.0, 0.0));
        assert_eq!(recent.add(10_000, total(100.0, 50.0)).share(), Some(0.5));
        recent.add(160_000, total(200.0, 50.0));
        recent.add(320_000, total(400.0, 50.0));
        let now = recent.add(330_000, total(500.0, 50.0));
        assert_eq!(now, total(300.0, 0.0));
    }

    #[test]
    fn without_requests_there_is_no_data() {
        let context = EvaluationContext { now_ms: 0, share: Some(0.1), explain: true };
        let limits = Signals { availability: Some(0.9), dropped: None, noise: None, f1: None, drift: None };
        let mut out = Vec::new();
        let snapshot = SystemSnapshot { unavailable: Some(PartCount::default()), ..SystemSnapshot::default() };
        SignalState::default().judge(context, &snapshot, &limits, &mut out);
        assert_eq!(out[0].outcome, CheckOutcome::NoData);
        assert!(out[0].blocks_advance);
    }
}
