//! A change at an unknown moment.
//!
//! Evidence since the start of a ramp is slow to show that something broke in the middle of it: the good days before
//! would have to be outweighed first. So a new test starts every now and then, besides those that run, and the alarm
//! is raised by any: Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
//! New England J. Stat. Data Sci. 2 (2024), with the starts paid for by [`super::spending`], so that the chance of a
//! false alarm over a whole ramp stays bounded (rather than the average time to one).
//!
//! A start is only the totals at its moment, so a detector is a few numbers and survives restarts.

use serde::{Deserialize, Serialize};

use super::bounded::Bets;
use super::moments::Moments;

/// Most starts that are kept. The one with the least evidence gives way; giving up a test never raises false alarms.
const KEPT: usize = 16;

/// One running test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// When it began, in milliseconds since 1970.
    pub at_ms: u64,
    /// The totals at that moment.
    pub from: Moments,
    /// Its price: evidence needed beyond `ln(1/α)`.
    pub price: f64,
}

/// Running tests of one claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    starts: Vec<Start>,
}

/// A test that has the evidence it needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// When the test began, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it has seen.
    pub seen: Moments,
    /// Evidence that it needed: `ln(1/α)` and its price.
    pub required: f64,
}

impl Detector {
    /// Without tests.
    #[must_use]
    pub const fn new() -> Self {
        Self { starts: Vec::new() }
    }

    /// Starts a test at `totals`, for `price` (see [`super::spending::Spending`]). `bets` decide which one gives way when
    /// there are too many.
    pub fn start(&mut self, at_ms: u64, totals: Moments, price: f64, bets: Option<&Bets>) {
        if self.starts.len() >= KEPT {
            let weight = |start: &Start| {
                let evidence = bets.map_or(0.0, |bets| bets.log_evidence(totals.since(start.from)));
                evidence - start.price
            };
            let weakest = self.starts.iter().enumerate().min_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)));
            if let Some((weakest, _)) = weakest {
                self.starts.remove(weakest);
            }
        }
        self.starts.push(Start { at_ms, from: totals, price });
    }

    /// The newest start.
    #[must_use]
    pub fn newest(&self) -> Option<Start> {
        self.starts.last().copied()
    }

    /// Has any test the evidence it needs for the claim that `bets` are on, at `totals`? The error rate over all tests
    /// together is `exp(−log_inverse_alpha)`. Of several, the one with the most evidence beyond its need.
    #[must_use]
    pub fn alarm(&self, totals: Moments, bets: &Bets, log_inverse_alpha: f64) -> Option<Alarm> {
        let mut best: Option<(&Start, f64)> = None;
        for start in &self.starts {
            let seen = totals.since(start.from);
            let needed = best.map_or(log_inverse_alpha, |(_, evidence)| evidence) + start.price;
            // Almost always far away, which the ceiling says without the sum over all bets.
            if bets.reaches(seen, needed) {
                best = Some((start, bets.log_evidence(seen) - start.price));
            }
        }
        best.map(|(start, _)| Alarm {
            at_ms: start.at_ms,
            seen: totals.since(start.from),
            required: log_inverse_alpha + start.price,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded::Side;
    use super::super::spending::Spending;
    use super::*;

    fn requests(count: f64, agreement: f64) -> Moments {
        Moments { count, sum: count * agreement, squares: count * agreement }
    }

    #[test]
    fn a_drop_after_a_long_good_time_is_seen_from_a_later_start() {
        let bets = Bets::new(Side::Below, 0.88);
        let mut spending = Spending::falling(0.5);
        let mut detector = Detector::default();
        detector.start(0, Moments::NONE, spending.planned(), Some(&bets));
        let good = requests(100_000.0, 0.9);
        detector.start(1, good, spending.spare(), Some(&bets));
        let after = good.plus(requests(600.0, 0.8));
        let alarm = detector.alarm(after, &bets, 200_f64.ln()).unwrap();
        assert_eq!(alarm.at_ms, 1);
        assert_eq!(alarm.seen.count, 600.0);
        assert_eq!(detector.alarm(good, &bets, 200_f64.ln()), None);
    }

    #[test]
    fn the_strongest_tests_are_kept() {
        let bets = Bets::new(Side::Below, 0.88);
        let mut detector = Detector::default();
        detector.start(0, Moments::NONE, 1.0, Some(&bets));
        let mut totals = requests(300.0, 0.8);
        for at in 1..100 {
            detector.start(at, totals, 9.0, Some(&bets));
            totals = totals.plus(requests(1.0, 0.88));
        }
        assert!(detector.starts.len() <= KEPT);
        let alarm = detector.alarm(totals, &bets, 1.0).unwrap();
        assert_eq!(alarm.at_ms, 0, "the first start saw the drop and must not give way");
    }
}
