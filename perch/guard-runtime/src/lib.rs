//! Runs the guard: reads sources, lets the core decide (crate [`guard`]), writes sinks, and keeps the state and the audit
//! log.
//!
//! | module | what |
//! |---|---|
//! | [`source`], [`sink`] | what is read, what is written |
//! | [`ledger`] | the audit log and its lock: one story, in which the last human word holds |
//! | [`hand`] | how anybody but the guard moves the share |
//! | [`lease`] | two guards do not duel |
//! | [`shell`] | one look, from reading to storing |
//! | [`standing`] | how the guard stands, for who asks |
//! | [`export`] | the guard's own metrics |
//! | [`clock`] | the time of day |
//! | `file` | files that are whole or not there |

pub mod clock;
pub mod export;
mod file;
pub mod hand;
pub mod lease;
pub mod ledger;
pub mod shell;
pub mod sink;
pub mod source;
pub mod standing;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use file::FileError;
