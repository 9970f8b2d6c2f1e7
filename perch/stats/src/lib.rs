//! Statistics that stay valid however often one looks.
//!
//! The guard looks every few seconds and may stop a ramp at any look, so a test of fixed size is of no use: looked at a
//! thousand times it raises a false alarm almost surely. Everything here is an *e-process*: a number that starts at 1 and
//! whose mean stays at or below 1, at every stopping time, as long as the hypothesis is true. By Ville's inequality it
//! then ever reaches `1/α` with probability at most `α`, whatever the looking. An e-process for every possible value of
//! a parameter gives a *confidence sequence*: the values not yet refuted.
//!
//! | module | question | source of the formula |
//! |---|---|---|
//! | [`moments`] | count, sum and sum of squares of values in 0..=1 | |
//! | [`bounded`] | is the mean of bounded values below (above) a threshold? | Waudby-Smith & Ramdas 2024, and a bound proven there |
//! | [`normal`] | is a difference of two arms below a tolerance? | Howard, Ramdas, McAuliffe & Sekhon 2021 |
//! | [`clusters`] | accept rates of two arms, by user | Deng, Knoblich & Lu 2018 |
//! | [`ratio`] | do users split as the switch says? | Lindon & Malek 2022 |
//! | [`spending`] | many tests, one error rate | union bound |
//! | [`detector`] | a change at an unknown moment | Shin, Ramdas & Rinaldo 2024 |
//!
//! Counts are `f64`: sums of counters read from Prometheus are, and are exact up to 2⁵³.

pub mod bounded;
pub mod clusters;
pub mod detector;
pub mod moments;
pub mod normal;
pub mod ratio;
#[cfg(test)]
mod reference;
pub mod spending;
