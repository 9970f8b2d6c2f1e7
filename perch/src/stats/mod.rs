//! Anytime-valid statistics: tests and intervals that may be evaluated at every moment, however often.
//!
//! The guard evaluates every few seconds and may stop a rollout at any evaluation. A test of fixed size cannot do that:
//! evaluated a thousand times it raises a false alarm almost surely. Every test here is an *e-process*: a number that
//! starts at 1 and whose mean stays at or below 1, at every stopping time, as long as the hypothesis is true. By
//! Ville's inequality the probability that it ever reaches `1/α` is at most `α`, however often it is evaluated. An
//! e-process for every possible value of a parameter gives a *confidence sequence*: the values not yet refuted.
//!
//! | module | subject | source of the formula |
//! |---|---|---|
//! | [`moments`] | count, sum and sum of squares of values in 0..=1 | |
//! | [`bounded`] | a mean of bounded values below (above) a threshold | Waudby-Smith & Ramdas 2024, and a bound proven there |
//! | [`normal`] | a difference of two arms below a tolerance | Howard, Ramdas, McAuliffe & Sekhon 2021 |
//! | [`clusters`] | accept rates of two arms, by user | Deng, Knoblich & Lu 2018 |
//! | [`ratio`] | a split of users that differs from the canary share | Lindon & Malek 2022 |
//! | [`spending`] | one error rate shared by many tests | union bound |
//! | [`detector`] | a change at an unknown moment | Shin, Ramdas & Rinaldo 2024 |
//!
//! Counts are `f64`, as Prometheus' counters are; they are exact up to 2⁵³.

pub mod bounded;
pub mod clusters;
pub mod detector;
pub mod moments;
pub mod normal;
pub mod ratio;
#[cfg(test)]
mod reference;
pub mod spending;
