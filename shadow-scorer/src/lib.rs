//! The model's side of Perch: live answers, observations compared, models, features, store; and the reference rules backend.
//!
//! | module | what it holds |
//! |---|---|
//! | [`http`] | accept loop (HTTP/1.1 and h2c on one port), the route table, errors as clients see them |
//! | [`observer`] | observation batches in, the missing side, the comparison, verdicts and samples out |
//! | [`model`] | manifests, sessions, the registry with its aliases and hot swap |
//! | [`features`] | the versioned feature schema and the one function that computes a row |
//! | [`store`] | transactions, events, labels and feedback on SQLite or PostgreSQL |
//! | [`rules`] | the reference rules backend: priors, patterns, the application's API |
//! | [`demo`] | demo users and transactions from a fixed seed |
//! | [`feedback`] | accepts and rejects, joined to what was served |
//! | [`metrics`] | every metric that the scorer exposes, declared once |
//! | [`settings`] | flags and environment, raw and checked |

pub mod demo;
pub mod features;
pub mod feedback;
pub mod http;
pub mod metrics;
pub mod model;
pub mod observer;
pub mod rules;
pub mod settings;
pub mod store;
