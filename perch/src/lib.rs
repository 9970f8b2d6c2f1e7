//! The operator's command and the guard.

pub mod guard;
pub mod stats;
