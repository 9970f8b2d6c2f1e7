//! Runs the guard: reads sources, lets the core decide (crate [`guard`]), writes sinks, and keeps the state and the
//! audit log.
//!
//! | module | contents |
//! |---|---|
//! | [`source`], [`sink`] | reads counters, shares and models; writes the share |
//! | [`audit_log`] | the audit log and its lock, by which the last manual override holds |
//! | [`manual_override`] | changes of the share by operators, the console and alerts |
//! | [`lease`] | only one of several guards acts |
//! | [`control_loop`] | one evaluation after another: read, decide, store, act |
//! | [`status`] | the guard's status, for `perch status` and the console |
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
