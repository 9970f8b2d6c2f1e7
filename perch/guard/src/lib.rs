//! The guard: raises the canary share when the evidence allows it, lowers it when the evidence demands it, and never
//! overrides an operator.
//!
//! The core ([`Guard`]) is pure: it takes the time and a snapshot of the system as arguments, returns a
//! [`decision::Decision`], and its state can be stored between any two evaluations. A thin control loop around it reads
//! the sources, writes the sinks and stores the state.
//!
//! | module | contents |
//! |---|---|
//! | [`plan`] | the rollout plan, checked |
//! | [`snapshot`] | the snapshot of the system that an evaluation judges |
//! | [`checks`] | the evidence behind each check |
//! | [`decision`] | the decision of an evaluation, and the result of each check |
//! | [`rollout`] | the core: from check results to a decision, and the operator's commands |
//! | [`state`] | the stored state |
//! | [`source`], [`sink`] | where the guard reads from, and where it writes the share |
//! | [`audit_log`] | the audit log and its lock, which put all changes of the share in one order |
//! | [`manual_override`] | a change of the share by an operator or an alert |
//! | [`lease`] | the lease that lets only one of several guards act |
//! | [`control_loop`] | the control loop: one evaluation, from reading to storing |
//! | [`status`] | the guard's status, as read from its folder |
//! | [`export`] | the guard's own metrics |
//! | [`clock`] | the time of day |
//!
//! # Rules, in order of precedence
//! 1. A change of the share that the guard did not make pauses it until an operator resumes; it keeps evaluating and
//!    reporting.
//! 2. A rollback is latched: the share stays at 0 until an operator resumes.
//! 3. A breached guardrail rolls back, also while the guard is frozen. At 0 % there is nothing to roll back, so it
//!    freezes.
//! 4. A sample ratio mismatch, or a change of the serving model during a rollout, freezes: the share stays, and only an
//!    operator can continue.
//! 5. Missing data, a signal past its limit, too little time or too few requests hold the step.
//! 6. Otherwise the rollout advances.

pub mod audit_log;
pub mod checks;
pub mod clock;
pub mod control_loop;
pub mod decision;
pub mod export;
#[cfg(test)]
pub(crate) mod fake_gateway;
mod file;
pub(crate) mod format;
pub mod lease;
pub mod manual_override;
pub mod plan;
pub mod rollout;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod status;

pub use file::FileError;
pub use rollout::{CommandError, Guard, OperatorCommand, StateError};
pub use source::error_chain;
