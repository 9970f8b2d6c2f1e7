//! Statistics that stay valid at every moment, without I/O, clock or random numbers.
//!
//! A canary is evaluated every few seconds and may be stopped at any evaluation, so a test of fixed size is of no use:
//! evaluated a thousand times it raises a false alarm almost surely. Everything here is an *e-process*: a number that
//! starts at 1 and whose mean stays at or below 1, at every stopping time, as long as the hypothesis is true. By Ville's
//! inequality it then ever reaches `1/α` with probability at most `α`, however many evaluations there are. An e-process
//! for every possible value of a parameter gives a *confidence sequence*: the values not yet refuted.
//!
//! | module | question | source of the formula |
//! |---|---|---|
//! | [`moments`] | count, sum and sum of squares of values in 0..=1 | |
//! | [`bounded`] | is the mean of bounded values below (above) a threshold? | Waudby-Smith & Ramdas 2024, and a bound proven there |
//! | [`normal`] | is a difference of two arms below a tolerance? | Howard, Ramdas, McAuliffe & Sekhon 2021 |
//! | [`clusters`] | accept rates of two arms, by user | Deng, Knoblich & Lu 2018 |
//! | [`ratio`] | does the split of users fit the share? | Lindon & Malek 2022 |
//! | [`spending`] | many tests, one error rate | union bound |
//! | [`detector`] | a change at an unknown moment | Shin, Ramdas & Rinaldo 2024 |
//! | [`kappa`] | agreement of two raters beyond chance | Fleiss, Cohen & Everitt 1969 |
//!
//! Evidence and error rates are natural logarithms: a claim at error rate α needs evidence of `ln(1/α)`.
//!
//! # A confidence sequence of a mean
//! Two raters agree on 870 of 1,000 items. Evaluated after every single item, the interval misses the true rate at any
//! time with probability at most 2·2.5%:
//!
//! ```
//! use stats::bounded::{lower_bound, upper_bound};
//! use stats::moments::Moments;
//!
//! let mut seen = Moments::NONE;
//! for item in 0..1_000 {
//!     seen.push(if item % 100 < 87 { 1.0 } else { 0.0 });
//! }
//! let required = (1.0 / 0.025_f64).ln();
//! let (lower, upper) = (lower_bound(seen, required), upper_bound(seen, required));
//! assert!(0.82 < lower && lower < 0.87 && 0.87 < upper && upper < 0.91, "{lower} {upper}");
//! ```
//!
//! # A test that may stop at any moment
//! Is agreement below 88%? The test stops at the first evaluation with enough evidence:
//!
//! ```
//! use stats::bounded::{Bets, Direction};
//! use stats::moments::Moments;
//!
//! let below = Bets::new(Direction::Below, 0.88);
//! let required = (1.0 / 0.01_f64).ln();
//! let mut seen = Moments::NONE;
//! let stopped = (1..=10_000).find(|item| {
//!     seen.push(if item % 10 < 8 { 1.0 } else { 0.0 });
//!     below.reaches(seen, required)
//! });
//! assert!(stopped.is_some_and(|items| items < 600), "80% is below 88%: {stopped:?}");
//! ```
//!
//! # A change in the middle
//! A long good past hides a change that has just begun, unless a test starts again:
//!
//! ```
//! use stats::bounded::{Bets, Direction};
//! use stats::detector::Detector;
//! use stats::moments::Moments;
//! use stats::spending::Spending;
//!
//! let requests = |count: f64, agreement: f64| Moments { count, sum: count * agreement, squares: count * agreement };
//! let below = Bets::new(Direction::Below, 0.88);
//! let (mut spending, mut detector) = (Spending::falling(0.5), Detector::new());
//! let good = requests(100_000.0, 0.9);
//! detector.start(0, Moments::NONE, spending.planned(), Some(&below));
//! detector.start(60_000, good, spending.spare(), Some(&below));
//! let all = good.plus(requests(600.0, 0.8));
//! let alarm = detector.alarm(all, &below, (1.0 / 0.005_f64).ln()).expect("the drop is found");
//! assert_eq!((alarm.at_ms, alarm.moments.count), (60_000, 600.0));
//! ```
//!
//! # Two arms, by user
//! ```
//! use stats::clusters::{Clusters, Difference};
//!
//! let arm = |accepted| {
//!     let mut users = Clusters::default();
//!     (0..2_000).for_each(|_| users.add(3, accepted));
//!     users
//! };
//! let difference = Difference::of(&arm(2), &arm(1), 0.05).expect("both arms have users");
//! assert!(difference.upper_bound((1.0 / 0.01_f64).ln()) < 0.0, "the second arm is worse");
//! ```
//!
//! # Does the split hold?
//! ```
//! use stats::ratio::{Split, log_evidence};
//!
//! let required = (1.0 / 0.001_f64).ln();
//! assert!(log_evidence(Split { model: 510.0, rule: 4_490.0 }, 0.10) < required);
//! assert!(log_evidence(Split { model: 400.0, rule: 4_600.0 }, 0.10) > required, "8% is not 10%");
//! ```
//!
//! # Agreement beyond chance
//! ```
//! let cells = [("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15)];
//! let kappa = stats::kappa::of(cells).expect("two labels");
//! assert!((kappa.value - 0.4).abs() < 1e-12);
//! ```
//!
//! Counts are `f64`: sums of counters read from Prometheus are, and are exact up to 2⁵³.

pub mod bounded;
pub mod clusters;
pub mod detector;
pub mod kappa;
pub mod moments;
pub mod normal;
pub mod ratio;
#[cfg(test)]
mod reference;
pub mod spending;
