//! Comparison of baseline and candidate for `perch analyse`, from the scorer's counts ([`contract::analysis`]).
//!
//! | module | purpose |
//! |---|---|
//! | [`report`] | rates, effects, intervals and tests: the figures |
//! | [`pairs`] | items by their pair of labels |
//! | [`text`], [`csv`], [`html`] | the figures for a terminal, for other programs, and as one self-contained page |

mod chart;
pub mod csv;
pub mod html;
pub mod pairs;
pub mod report;
pub mod text;
