//! Runs the guard: reads sources, lets the core decide (crate [`guard`]), writes sinks, and keeps the state and the audit
//! log.
//!
//! | module | what |
//! |---|---|
//! | [`source`], [`sink`] | what is read, what is written |
//! | [`audit_log`] | the audit log and its lock: one story, in which the last human word holds |
//! | [`manual_override`] | how anybody but the guard moves the share |
//! | [`lease`] | two guards do not duel |
//! | [`control_loop`] | one look, from reading to storing |
//! | [`status`] | how the guard stands, for who asks |
//! | [`export`] | the guard's own metrics |
//! | [`clock`] | the time of day |
//! | `file` | files that are whole or not there |

pub mod audit_log;
pub mod clock;
pub mod control_loop;
pub mod export;
mod file;
pub mod lease;
pub mod manual_override;
pub mod sink;
pub mod source;
pub mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use file::FileError;
