//! Tree ensembles at cache speed, as the operator that tract runs for ONNX's TreeEnsembleClassifier.
//!
//! ```no_run
//! use tract_onnx::prelude::*;
//!
//! # fn main() -> TractResult<()> {
//! let mut onnx = tract_onnx::onnx();
//! forest::register(&mut onnx);
//! let mut model = onnx.model_for_path("model.onnx")?;
//! let batch = model.symbols.sym("batch");
//! model.set_input_fact(0, f32::fact(&[batch.to_dim(), 60.to_dim()]).into())?;
//! let plan = model.into_optimized()?.into_runnable()?;
//! assert!(forest::plan_uses_forest(&plan));
//! # Ok(())
//! # }
//! ```
//!
//! A model of text has a product with constant weights before its trees, of rows that are mostly zeros: it skips them.
//!
//! Without a graph around it: [`ensemble_of`] a node, or an [`Ensemble`] of your own, becomes a [`Forest`].

mod attributes;
mod block;
mod columns;
mod deep;
mod ensemble;
mod error;
mod exponential;
mod forest;
mod operator;
mod outcome;
mod sieve;
mod sparse;
mod tree;
mod votes;
mod wide;

pub use attributes::ensemble_of;
pub use ensemble::{Ensemble, Labels, Mode, PostTransform};
pub use error::{Malformed, WrongShape};
pub use forest::Forest;
pub use operator::{model_uses_forest, plan_uses_forest, register};
