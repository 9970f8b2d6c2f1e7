//! The operator's command and the guard.

pub mod analysis;
pub mod canary;
pub mod console;
pub mod guard;
pub mod stats;
