//! The scorer: live responses of the candidate, observations compared, models, feedback and training.
//!
//! It is a library, since it knows no application: a program links one in by [`run`], as the demo's
//! (`examples/suggestions`) does.
//!
//! | module | what it holds |
//! |---|---|
//! | [`application`] | what an application implements |
//! | [`http`] | accept loop (HTTP/1.1 and h2c on one port), the route table, errors as clients see them |
//! | [`suggestions`] | the wire format of live responses |
//! | [`observer`] | observation batches in, the missing response, the comparison, batch results and samples out |
//! | [`feedback`] | accepts and rejects, joined to what was served; training |
//! | [`settings`] | flags and environment, raw and checked |
//!
//! Crates of their own, from the lowest: [`features`] (entities, rows, drift), [`metrics`], [`store`] (SQLite or
//! PostgreSQL), [`model`] (manifests, sessions, the registry).

pub mod application;
mod decode;
pub mod feedback;
pub mod http;
pub mod observer;
mod program;
pub mod settings;
pub mod suggestions;

pub use scorer_features as features;
pub use scorer_metrics as metrics;
pub use scorer_model as model;
pub use scorer_store as store;

pub use application::{Application, ExportError, Exporting};
pub use program::run;
