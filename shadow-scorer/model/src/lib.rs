//! Models: what a version is, how it is loaded and checked, who serves.
//!
//! ```text
//! models/registry/
//!   champion  challenger  previous     aliases: one line, a version's name
//!   rolled_back_to                     the champion that the last rollback led to, until the next deployment
//!   VERSION/manifest.json              hashes, feature schema, classes, figures from training
//!   VERSION/model.onnx
//!   VERSION/reference.json             rows and outputs that are replayed at every load
//! ```
//! A version that fails a check is refused with a reason ([`Refusal`]) and what serves goes on serving.

mod feature_schema;
mod folder;
mod graph;
mod loaded;
mod lock;
pub mod manifest;
pub mod policy;
mod refusal;
mod registry;
mod scores;
mod session;

pub use feature_schema::FeatureSchema;
pub use folder::{Alias, Folder, KEPT};
pub use loaded::{LoadedModel, TOLERANCE};
pub use lock::{Caller, Client, Lock, LockError};
pub use manifest::Manifest;
pub use refusal::Refusal;
pub use registry::{ChangeError, ChangeOutcome, RefusedVersion, Registry};
pub use scores::{ScoredLabel, Scores};
pub use session::{PredictError, Rows, Session};

#[cfg(test)]
#[path = "../../tests/support/small_model.rs"]
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
pub(crate) mod small_model;
