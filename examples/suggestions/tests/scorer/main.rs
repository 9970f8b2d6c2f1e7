//! The scorer as its clients see it: real HTTP on a free port, a store in a temporary folder, a real (small) model, and
//! no application.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod analysis;
mod drift;
mod evidence;
mod feedback;
mod live;
mod models;
mod observe;
mod program;
mod server;
mod store;
mod swaps;
mod token;
mod training;
mod whole_loop;

/// A scorer inside the test's process.
mod scorer;

/// Batches as the filter writes them.
mod batch;
mod corpus;

#[path = "../../../../shadow-scorer/tests/support/small_model.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests, each uses a part")]
mod small_model;
