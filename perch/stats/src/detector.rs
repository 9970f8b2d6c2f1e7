//! Detection of a change at an unknown time.
//!
//! Evidence since the start of a rollout is slow to show a fault that began in the middle of it, since it must first
//! outweigh the good time before. So a new test starts every now and then, besides those that run, and any of them can
//! raise the alarm: Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
//! New England J. Stat. Data Sci. 2 (2024). Each start is paid for by [`super::spending`], so that the probability of a
//! false alarm over a whole rollout stays bounded (rather than the average time to one).
//!
//! A test is stored as the totals at its start, so a detector is a few numbers and survives restarts.

use serde::{Deserialize, Serialize};

use super::bounded::Bets;
use super::moments::Moments;

/// Most running tests. Beyond that the one with the least evidence is dropped, which never raises a false alarm.
const MAX_STARTS: usize = 16;

/// The start of a running test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TestStart {
    /// Time of the start, in milliseconds since 1970.
    pub at_ms: u64,
    /// The totals at that time.
    pub from: Moments,
    /// Evidence required beyond `ln(1/α)`.
    pub price: f64,
}

/// Running tests of one claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    starts: Vec<TestStart>,
}

/// A test that has reached the evidence it requires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Start of the test, in milliseconds since 1970.
    pub at_ms: u64,
    /// The moments since the start.
    pub moments: Moments,
    /// The evidence that it required: `ln(1/α)` and its price.
    pub required: f64,
}

impl Detector {
    /// A detector without tests.
    #[must_use]
    pub const fn new() -> Self {
        Self { starts: Vec::new() }
    }

    /// Starts a test at `totals`, for `price` (see [`super::spending::Spending`]). `bets` decide which test is dropped
    /// when there are too many.
    pub fn start(&mut self, at_ms: u64, totals: Moments, price: f64, bets: Option<&Bets>) {
        if self.starts.len() >= MAX_STARTS {
            let weight = |start: &TestStart| {
                let evidence = bets.map_or(0.0, |bets| bets.log_evidence(totals.since(start.from)));
                evidence - start.price
            };
            let weakest = self.starts.iter().enumerate().min_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)));
            if let Some((weakest, _)) = weakest {
                self.starts.remove(weakest);
            }
        }
        self.starts.push(TestStart { at_ms, from: totals, price });
    }

    /// The newest start.
    #[must_use]
    pub fn newest(&self) -> Option<TestStart> {
        self.starts.last().copied()
    }

    /// The test that has reached the evidence it requires for the claim of `bets` at `totals`, if any; of several, the
    /// one with the most evidence beyond that. The error rate over all tests together is `exp(−log_inverse_alpha)`.
    #[must_use]
    pub fn alarm(&self, totals: Moments, bets: &Bets, log_inverse_alpha: f64) -> Option<Alarm> {
        let mut best: Option<(&TestStart, f64)> = None;
        for start in &self.starts {
            let moments = totals.since(start.from);
            let needed = best.map_or(log_inverse_alpha, |(_, evidence)| evidence) + start.price;
            // Almost always far below, which the upper bound shows without the sum over all bets.
            if bets.reaches(moments, needed) {
                best = Some((start, bets.log_evidence(moments) - start.price));
            }
        }
        best.map(|(start, _)| Alarm {
            at_ms: start.at_ms,
            moments: totals.since(start.from),
            required: log_inverse_alpha + start.price,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded::Direction;
    use super::super::spending::Spending;
    use super::*;

    fn requests(count: f64, agreement: f64) -> Moments {
        Moments { count, sum: count * agreement, squares: count * agreement }
    }

    #[test]
    fn a_drop_after_a_long_good_time_is_found_by_a_later_test() {
        let bets = Bets::new(Direction::Below, 0.88);
        let mut spending = Spending::falling(0.5);
        let mut detector = Detector::default();
        detector.start(0, Moments::NONE, spending.planned(), Some(&bets));
        let good = requests(100_000.0, 0.9);
        detector.start(1, good, spending.spare(), Some(&bets));
        let after = good.plus(requests(600.0, 0.8));
        let alarm = detector.alarm(after, &bets, 200_f64.ln()).unwrap();
        assert_eq!(alarm.at_ms, 1);
        assert_eq!(alarm.moments.count, 600.0);
        assert_eq!(detector.alarm(good, &bets, 200_f64.ln()), None);
    }

    #[test]
    fn the_strongest_tests_are_kept() {
        let bets = Bets::new(Direction::Below, 0.88);
        let mut detector = Detector::default();
        detector.start(0, Moments::NONE, 1.0, Some(&bets));
        let mut totals = requests(300.0, 0.8);
        for at in 1..100 {
            detector.start(at, totals, 9.0, Some(&bets));
            totals = totals.plus(requests(1.0, 0.88));
        }
        assert!(detector.starts.len() <= MAX_STARTS);
        let alarm = detector.alarm(totals, &bets, 1.0).unwrap();
        assert_eq!(alarm.at_ms, 0, "the first start saw the drop and must not give way");
    }
}
