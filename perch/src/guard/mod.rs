//! The guard: moves the share up when the evidence allows it, down when the evidence demands it, and never against an
//! operator.
//!
//! The core ([`Guard`]) is pure: time and observations are arguments, a [`decision::Decision`] comes out, and its state
//! can be stored between any two looks. Around it a thin shell reads sources, writes sinks and keeps the state.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | the ramp plan, checked |
//! | [`observation`] | what is seen at a look |
//! | [`checks`] | the evidence on each thing that is judged |
//! | [`decision`] | what comes out |
//! | [`ramp`] | the core: from checks to a decision, and an operator's orders |
//! | [`state`] | what is stored, and what it means |
//! | [`source`], [`sink`] | what is read, what is written |
//! | [`ledger`] | the audit log and its lock: one story, in which the last human word holds |
//! | [`hand`] | how anybody but the guard moves the share |
//! | [`lease`] | two guards do not duel |
//! | [`shell`] | one look, from reading to storing |
//! | [`standing`] | how the guard stands, for who asks |
//! | [`export`] | the guard's own metrics |
//! | [`clock`] | the time of day |
//!
//! # Rules, in order of precedence
//! 1. A change of the share that the guard did not make pauses it until an operator resumes; it goes on judging and
//!    telling.
//! 2. After a rollback it is latched: the share stays at 0 until an operator resumes.
//! 3. A breached guardrail rolls back, also while frozen. At 0% there is nothing to roll back, so it freezes.
//! 4. A sample ratio mismatch, or another model under the ramp, freezes: the share stays, and only an operator goes on.
//! 5. Missing data, a signal past its limit, too little time or too few requests hold.
//! 6. What is left advances.

pub mod checks;
pub mod clock;
pub mod decision;
pub mod export;
mod file;
pub mod hand;
pub mod lease;
pub mod ledger;
pub mod observation;
pub mod plan;
pub mod ramp;
pub mod shell;
pub mod sink;
pub mod source;
pub mod standing;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod words;

pub use file::FileError;
pub use ramp::{Guard, Order, OrderError, StateError};
pub use source::in_words;
