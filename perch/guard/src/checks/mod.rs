//! The checks. Each keeps its own evidence over a rollout and returns a result at every evaluation.
//!
//! | check | claim that is tested | unit | a breach |
//! |---|---|---|---|
//! | [`agreement`] | agreement is below its baseline minus the tolerated drop | request | rolls back |
//! | [`accept_rate`] | the candidate's accept rate is below the baseline's by more than the tolerated drop | user | rolls back |
//! | [`rate`] (fallback) | more canary requests fall back than allowed | evaluation | rolls back |
//! | [`rate`] (latency) | more canary responses are slow than allowed, beyond those of the baseline | evaluation | rolls back |
//! | [`sample_ratio`] | the split of users between the arms differs from the share | user | freezes |
//! | [`signals`] | availability, dropped observations, noise, F1 or drift is past its limit now | | holds |
//!
//! Fallbacks and slow responses come in bursts (e.g. when a scorer restarts), so requests between two evaluations are
//! not independent: the unit is the evaluation, whose value is the share among its requests.

pub mod accept_rate;
pub mod agreement;
mod claim_monitor;
pub mod rate;
pub mod sample_ratio;
pub mod signals;

use super::plan::OnBreach;

/// The part of an evaluation that is the same for every check.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationContext {
    /// Time of the evaluation, in milliseconds since 1970.
    pub now_ms: u64,
    /// The canary share that the gateways hold, 0..=1; `None` while it is not known.
    pub share: Option<f64>,
    /// Compute bounds and reasons, which only people read.
    pub explain: bool,
}

/// Logarithm of the evidence that a gate or a displayed interval requires at either end: it errs in 5% of rollouts.
pub const GATE_EVIDENCE: f64 = 2.995_732_273_553_991;

/// Returns `true` if a breach rolls back.
#[must_use]
pub fn rolls_back(on_breach: OnBreach) -> bool {
    on_breach == OnBreach::Rollback
}
