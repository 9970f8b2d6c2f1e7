//! Signals: is something past its limit now? They hold the ramp while it is, and do nothing else.

use serde::{Deserialize, Serialize};
use stats::bounded::{lower_bound, upper_bound};

use super::{GATE_EVIDENCE, Look};
use crate::decision::{Check, Judgement, Unit, Verdict};
use crate::observation::{Observation, Part};
use crate::plan::Signals;
use crate::words::{count, percent};

/// "Now" is the last two to five minutes.
const HALF_WINDOW_MS: u64 = 150_000;

/// What signals need to remember.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    unavailable: Recent,
    dropped: Recent,
}

/// A counter's recent past: totals at two moments, at least half a window apart.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Recent {
    older: Option<(u64, Part)>,
    newer: Option<(u64, Part)>,
}

impl Recent {
    fn take(&mut self, now_ms: u64, total: Part) -> Part {
        let (at_ms, _) = *self.newer.get_or_insert((now_ms, total));
        self.older.get_or_insert((now_ms, total));
        if now_ms.saturating_sub(at_ms) >= HALF_WINDOW_MS {
            self.older = self.newer.replace((now_ms, total));
        }
        self.older.map_or(Part::default(), |(_, older)| total.since(older))
    }
}

impl State {
    /// All signals.
    pub fn judge(&mut self, look: Look, seen: &Observation, limits: &Signals, out: &mut Vec<Judgement>) {
        if let Some(least) = limits.availability {
            let recent = seen.unavailable.map(|total| self.unavailable.take(look.now_ms, total));
            let limit = Limit { check: Check::Availability, most: 1.0 - least, what: "requests found no model to ask" };
            out.push(limit.judge(look, recent));
        }
        if let Some(most) = limits.dropped {
            let recent = seen.dropped.map(|total| self.dropped.take(look.now_ms, total));
            let limit = Limit { check: Check::Dropped, most, what: "observations were dropped" };
            out.push(limit.judge(look, recent));
        }
        if let Some(most) = limits.noise {
            out.push(noise(look, seen, most));
        }
        if let Some(least) = limits.f1 {
            out.push(gauge(
                Check::F1,
                seen.f1,
                least,
                |value| value >= least,
                || format!("F1 of the serving model, {least} is wanted"),
            ));
        }
        if let Some(most) = limits.drift {
            let (feature, value) =
                seen.drift.as_ref().map_or(("", None), |(name, value)| (name.as_str(), Some(*value)));
            out.push(gauge(
                Check::Drift,
                value,
                most,
                |value| value <= most,
                || format!("stability index of {feature}, {most} is allowed"),
            ));
        }
    }
}

struct Limit {
    check: Check,
    most: f64,
    what: &'static str,
}

impl Limit {
    fn judge(&self, look: Look, recent: Option<Part>) -> Judgement {
        let Some(recent) = recent else {
            return Judgement::no_data(self.check, Unit::Requests, true, "the counters cannot be read");
        };
        let Some(value) = recent.share() else {
            return Judgement::no_data(self.check, Unit::Requests, true, "no request in the last minutes");
        };
        let past = value > self.most;
        let reason = if look.in_words {
            format!("{} of {} {} lately, allowed {}", percent(value), count(recent.all), self.what, percent(self.most))
        } else {
            String::new()
        };
        Judgement {
            verdict: if past { Verdict::Breach } else { Verdict::Pass },
            value: Some(value),
            threshold: Some(self.most),
            sample: recent.all,
            ..Judgement::no_data(self.check, Unit::Requests, true, reason)
        }
    }
}

/// Noise is rare and its sample small, so it is held against its lower bound.
fn noise(look: Look, seen: &Observation, most: f64) -> Judgement {
    let none = |reason: &str| Judgement::no_data(Check::Noise, Unit::Requests, false, reason);
    let Some(disagreement) = seen.noise.map(stats::moments::Moments::mirrored) else {
        return none("no side is asked twice");
    };
    let Some(value) = disagreement.mean() else { return none("no request was asked twice yet") };
    // Without words, the bound is worked out only where it could matter.
    let worth = look.in_words || value > most;
    let lower = if worth { lower_bound(disagreement, GATE_EVIDENCE) } else { 0.0 };
    let reason = if look.in_words {
        format!(
            "a side asked twice differs from itself on {} of {} requests, allowed {}",
            percent(value),
            count(disagreement.count),
            percent(most)
        )
    } else {
        String::new()
    };
    Judgement {
        verdict: if lower > most { Verdict::Breach } else { Verdict::Pass },
        value: Some(value),
        lower: look.in_words.then_some(lower),
        upper: look.in_words.then(|| upper_bound(disagreement, GATE_EVIDENCE)),
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
) -> Judgement {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return Judgement::no_data(check, Unit::Requests, false, "not measured");
    };
    Judgement {
        verdict: if good(value) { Verdict::Pass } else { Verdict::Breach },
        value: Some(value),
        threshold: Some(limit),
        sample: 1.0,
        ..Judgement::no_data(check, Unit::Requests, false, format!("{value:.3}: {}", what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_forgotten_after_the_window() {
        let mut recent = Recent::default();
        let total = |all, part| Part { all, part };
        recent.take(0, total(0.0, 0.0));
        assert_eq!(recent.take(10_000, total(100.0, 50.0)).share(), Some(0.5));
        recent.take(160_000, total(200.0, 50.0));
        recent.take(320_000, total(400.0, 50.0));
        let now = recent.take(330_000, total(500.0, 50.0));
        assert_eq!(now, total(300.0, 0.0));
    }

    #[test]
    fn no_request_is_no_data_and_not_good() {
        let look = Look { now_ms: 0, share: Some(0.1), in_words: true };
        let limits = Signals { availability: Some(0.9), dropped: None, noise: None, f1: None, drift: None };
        let mut out = Vec::new();
        let seen = Observation { unavailable: Some(Part::default()), ..Observation::default() };
        State::default().judge(look, &seen, &limits, &mut out);
        assert_eq!(out[0].verdict, Verdict::NoData);
        assert!(out[0].needed);
    }
}
