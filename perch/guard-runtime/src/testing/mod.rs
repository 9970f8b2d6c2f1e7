//! Stand-ins for the programs around a guard, for tests of this crate and, by the feature `testing`, of those above it.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod gateway;
mod world;

pub use gateway::Gateway;
pub use world::{LOOK_MS, Shared, Town, World, ada, serve};
