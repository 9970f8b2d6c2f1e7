//! The guard's decisions: it moves the share up when the evidence allows it, down when the evidence demands it, and never
//! against an operator.
//!
//! The core ([`Guard`]) is pure: time and observations are arguments, a [`decision::Decision`] comes out, and its state
//! can be stored between any two looks. What reads sources, writes sinks and keeps the state is the crate
//! `guard-runtime`.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | the ramp plan, checked |
//! | [`observation`] | what is seen at a look |
//! | [`checks`] | the evidence on each thing that is judged |
//! | [`decision`] | what comes out |
//! | [`ramp`] | the core: from checks to a decision, and an operator's orders |
//! | [`state`] | what is stored, and what it means |
//! | [`words`] | numbers in words |
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
pub mod decision;
pub mod observation;
pub mod plan;
pub mod ramp;
pub mod state;
pub mod words;

pub use ramp::{Guard, Order, OrderError, StateError};
