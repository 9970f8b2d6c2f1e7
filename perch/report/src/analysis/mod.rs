//! Which side is better, with proof: what `perch analyse` works out of the scorer's counts ([`contract::analysis`]).
//!
//! | module | what it does |
//! |---|---|
//! | [`report`] | rates, effects, intervals and tests: the figures |
//! | [`text`], [`csv`], [`html`] | the same figures for a terminal, for other programs, and as one self-contained page |

mod chart;
pub mod csv;
pub mod html;
mod markup;
pub mod report;
pub mod text;
