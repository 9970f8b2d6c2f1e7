//! Tree ensembles for [tract](https://docs.rs/tract-onnx): fast, checked at load, exact in `f32`.
//!
//! tract evaluates ONNX's operator TreeEnsembleClassifier in a time that grows with the square of the number of trees.
//! This crate replaces that operator. It does no I/O and starts no thread; a row's result depends on the row alone, bit
//! for bit, whichever batch the row is in.
//!
//! # In a graph of tract
//!
//! [`register`] makes tract build the trees of every model that is loaded afterwards as a [`Forest`]:
//!
//! ```
//! use tract_onnx::prelude::*;
//!
//! # fn main() -> TractResult<()> {
//! let mut onnx = tract_onnx::onnx();
//! forest::register(&mut onnx);
//! // A decision tree of five nodes: petal length and width to a species of iris.
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/iris.onnx");
//! let plan = onnx.model_for_path(path)?.into_optimized()?.into_runnable()?;
//! assert!(forest::plan_uses_forest(&plan));
//!
//! let rows = tensor2(&[[1.4_f32, 0.2], [4.7, 1.4], [6.0, 2.5]]);
//! let outputs = plan.run(tvec![rows.into()])?;
//! let labels = ["setosa", "versicolor", "virginica"].map(String::from);
//! assert_eq!(outputs[0], tensor1(&labels).into_tvalue());
//! # Ok(())
//! # }
//! ```
//!
//! A MatMul whose weights are constant is replaced too: it skips the zeros of a row, such as those of n-gram counts.
//!
//! # Without a graph
//!
//! An [`Ensemble`] has the operator's attributes as fields. [`Forest::new`] checks it and lays it out for evaluation:
//!
//! ```
//! use forest::{Ensemble, Forest, Labels, Mode, PostTransform};
//!
//! // x[0] ≤ 0.5: class "low", else "high".
//! let stump = Ensemble {
//!     nodes_treeids: vec![0, 0, 0],
//!     nodes_nodeids: vec![0, 1, 2],
//!     nodes_featureids: vec![0, 0, 0],
//!     nodes_modes: vec![Mode::AtMost, Mode::Leaf, Mode::Leaf],
//!     nodes_values: vec![0.5, 0.0, 0.0],
//!     nodes_truenodeids: vec![1, 0, 0],
//!     nodes_falsenodeids: vec![2, 0, 0],
//!     nodes_missing_value_tracks_true: vec![],
//!     class_treeids: vec![0, 0],
//!     class_nodeids: vec![1, 2],
//!     class_ids: vec![0, 1],
//!     class_weights: vec![1.0, 1.0],
//!     base_values: vec![],
//!     labels: Labels::Strings(vec!["low".into(), "high".into()]),
//!     post_transform: PostTransform::None,
//! };
//! let forest = Forest::new(&stump)?;
//! let rows = [0.2, 0.9];
//! let (mut scores, mut winners) = ([0.0; 4], [0; 2]);
//! forest.predict(&rows, 1, &mut scores, &mut winners)?;
//! assert_eq!(winners, [0, 1]);
//! assert_eq!(scores, [1.0, 0.0, 0.0, 1.0]);
//!
//! // A malformed ensemble is refused with the tree and the node at fault.
//! let cycle = Ensemble { nodes_truenodeids: vec![0, 0, 0], ..stump };
//! assert!(Forest::new(&cycle).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`ensemble_of`] reads an [`Ensemble`] out of a node of an ONNX graph.
//!
//! # How it is evaluated
//!
//! | module | what it holds, each importing from those above it only |
//! |---|---|
//! | `error` | why an ensemble or rows are refused |
//! | `ensemble` | an ensemble as ONNX writes it |
//! | `wide`, `exponential` | functions for several vector widths; eˣ in plain arithmetic |
//! | `attributes` | an ensemble out of a node of an ONNX graph |
//! | `tree` | checked trees |
//! | `columns` | every distinct comparison, by feature; ranks of values among thresholds |
//! | `votes` | the weights of leaves, and the order in which they are summed |
//! | `sieve` | trees of up to 64 leaves, a row at a time (QuickScorer) |
//! | `deep` | trees of any size, a row at a time |
//! | `block` | trees of up to 128 leaves, many rows at a time |
//! | `outcome` | from sums to labels and scores |
//! | `forest` | a checked ensemble, ready to be evaluated |
//! | `sparse` | products with constant weights for rows that are mostly zeros |
//! | `operator` | the forest as tract's operator |

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
