//! The forest from outside: against a naive evaluator, against malformed ensembles, and inside tract.

// Clippy's leave for tests covers functions marked #[test] only, not what they call.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod generate;
mod malformed;
mod naive;
mod onnx;
mod operator;
mod properties;
