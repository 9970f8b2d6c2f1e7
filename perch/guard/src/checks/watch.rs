//! A claim about a mean, watched over a whole ramp: a test from each step's start, others that start in between, and
//! the bets, which are made once per threshold.

use serde::{Deserialize, Serialize};
use stats::bounded::{Bets, Side};
use stats::detector::{Alarm, Detector};
use stats::moments::Moments;
use stats::spending::Spending;

/// Part of the error rate for the tests that start with a step; the others watch for a change within one.
const STEPS_PART: f64 = 0.6;
/// Shortest time between two starts within a step. More starts find a change sooner and ask for more evidence.
const RESTART_MS: u64 = 60_000;

/// A watched claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Watch {
    detector: Detector,
    spending: Spending,
    /// Fewest units between two starts within a step.
    restart_units: f64,
    #[serde(skip)]
    bets: Option<(f64, Bets)>,
}

impl Watch {
    pub(super) const fn new(restart_units: f64) -> Self {
        // A model that is bad is bad from its first step on.
        let detector = Detector::new();
        Self { detector, spending: Spending::falling(STEPS_PART), restart_units, bets: None }
    }

    /// A step begins.
    pub(super) fn step(&mut self, now_ms: u64, totals: Moments) {
        let price = self.spending.planned();
        self.detector.start(now_ms, totals, price, self.bets.as_ref().map(|(_, bets)| bets));
    }

    /// Has it been shown that the mean is on `side` of `threshold`?
    pub(super) fn alarm(
        &mut self,
        now_ms: u64,
        totals: Moments,
        side: Side,
        threshold: f64,
        alpha: f64,
    ) -> Option<Alarm> {
        let newest = self.detector.newest()?;
        let bets = match self.bets.take() {
            Some((held, bets)) if held == threshold => bets,
            _ => Bets::new(side, threshold),
        };
        if now_ms.saturating_sub(newest.at_ms) >= RESTART_MS && totals.since(newest.from).count >= self.restart_units {
            self.detector.start(now_ms, totals, self.spending.spare(), Some(&bets));
        }
        let alarm = self.detector.alarm(totals, &bets, -alpha.ln());
        self.bets = Some((threshold, bets));
        alarm
    }
}
