//! The checks. Each keeps its own evidence over a ramp and says at every look what it finds.
//!
//! | check | claim that is tested | unit | a breach |
//! |---|---|---|---|
//! | [`agreement`] | agreement is below the baseline less what is tolerated | request | rolls back |
//! | [`accept`] | the model's accept rate is below the rules' by more than tolerated | user | rolls back |
//! | [`rate`] (fallback) | more canary requests fall back than allowed | look | rolls back |
//! | [`rate`] (latency) | more canary answers are slow than allowed, and than of the rules | look | rolls back |
//! | [`ratio`] | users do not split as the switch says | user | freezes |
//! | [`signals`] | availability, dropped observations, noise, F1, drift are past a limit now | | holds |
//!
//! Fallbacks and slow answers come in bursts (a scorer restarts), so requests of one look are not independent: the unit
//! is the look, whose value is the share among its requests.

pub mod accept;
pub mod agreement;
pub mod rate;
pub mod ratio;
pub mod signals;
mod watch;

use super::plan::OnBreach;

/// What every check is told about the look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// Share of the users in the model's arm, 0..=1, as the gateways hold it; `None` while it is not known.
    pub share: Option<f64>,
    /// Work out bounds and words, which only people read.
    pub in_words: bool,
}

/// Evidence, as a logarithm, that a gate or a shown interval asks for at either end: it errs in 5% of ramps.
pub const GATE_EVIDENCE: f64 = 2.995_732_273_553_991;

/// Does a breach of this check roll back?
#[must_use]
pub fn rolls_back(on_breach: OnBreach) -> bool {
    on_breach == OnBreach::Rollback
}
