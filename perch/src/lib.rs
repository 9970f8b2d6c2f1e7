//! The operator's command and the guard.

pub mod analysis;
pub mod canary;
pub mod console;
pub mod doctor;
pub mod guard;
pub mod replay;
pub mod stats;
