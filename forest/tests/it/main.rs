//! The forest from outside: against a naive evaluator, against malformed ensembles, and inside tract.

// Clippy's leave for tests covers functions marked #[test] only, not what they call.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod generate;
mod lightgbm;
mod malformed;
mod naive;
mod onnx;
mod operator;
mod products;
mod properties;
