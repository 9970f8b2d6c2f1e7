//! The guard's decisions: raises the canary share when the evidence allows it, lowers it when the evidence demands it, and
//! never overrides an operator.
//!
//! The core ([`Guard`]) is pure: it takes the time and a snapshot of the system as arguments, returns a
//! [`decision::Decision`], and its state can be stored between any two evaluations. The crate `guard-runtime` reads the
//! sources, writes the sinks and stores the state.
//!
//! | module | contents |
//! |---|---|
//! | [`plan`] | the rollout plan, checked |
//! | [`snapshot`] | the snapshot of the system that an evaluation judges |
//! | [`checks`] | the evidence behind each check |
//! | [`decision`] | the decision of an evaluation, and the result of each check |
//! | [`rollout`] | the core: from check results to a decision, and the operator's commands |
//! | [`state`] | the stored state |
//! | [`mod@format`] | numbers as text |
//!
//! # Rules, in order of precedence
//! 1. A change of the share that the guard did not make pauses it until an operator resumes; it keeps evaluating and
//!    reporting.
//! 2. A rollback is latched: the share stays at 0 until an operator resumes.
//! 3. A breached guardrail rolls back, also while the guard is frozen. At 0% there is nothing to roll back, so it freezes.
//! 4. A sample ratio mismatch, or a change of the serving model during a rollout, freezes: the share stays, and only an
//!    operator can continue.
//! 5. Missing data, a signal past its limit, too little time or too few requests hold the step.
//! 6. Otherwise the rollout advances.

pub mod checks;
pub mod decision;
pub mod format;
pub mod plan;
pub mod rollout;
pub mod snapshot;
pub mod state;

pub use rollout::{CommandError, Guard, OperatorCommand, StateError};
