//! Which side is better, with proof: what `perch analyse` works out of the scorer's counts ([`contract::analysis`]).
//!
//! | module | what it does |
//! |---|---|
//! | [`report`] | rates, effects, intervals and tests: the figures |
//! | [`kappa`] | agreement beyond chance |
//! | [`text`], [`csv`], [`html`] | the same figures for a terminal, for other programs, and as one self-contained page |

mod chart;
pub mod csv;
pub mod html;
pub mod kappa;
pub mod report;
pub mod text;
