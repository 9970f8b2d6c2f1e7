//! What the guard remembers. It is stored after every look, so a guard that restarts goes on as if it had not.

use contract::share::Share;
use serde::{Deserialize, Serialize};

use super::checks::{accept, agreement, rate, ratio, signals};
use super::plan::raw::Raw;

/// Version of the stored form. Another one is not read.
pub const VERSION: u32 = 1;

/// Everything between two looks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// The plan as written.
    pub plan: Raw,
    /// Where the ramp is.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// From when on what is counted by arm is of this share alone.
    pub settled_ms: Option<u64>,
    /// The share that the gateways should hold: what the guard set, or found when it began. `None` before the first look.
    #[serde(with = "share_text")]
    pub expected: Option<Share>,
    /// A share that the guard is about to set: it may or may not have got through.
    #[serde(with = "share_text")]
    pub pending: Option<Share>,
    /// Why the guard does not act: an operator's word or hand.
    pub paused: Option<Stop>,
    /// Why it rolled back.
    pub latched: Option<Stop>,
    /// Why it froze.
    pub frozen: Option<Stop>,
    /// A human has let the ramp leave this step.
    pub approved: bool,
    /// The model that the ramp is about.
    pub model: Option<String>,
    /// Requests seen when the step began.
    pub requests_from: Option<f64>,
    /// Evidence on agreement.
    pub agreement: agreement::State,
    /// Evidence on accept rates.
    pub accept: accept::State,
    /// Evidence on the split.
    pub ratio: ratio::State,
    /// Evidence on fallbacks.
    pub fallback: rate::State,
    /// Evidence on slow answers.
    pub latency: rate::State,
    /// Recent past of signals.
    pub signals: signals::State,
    /// Number of the last order that was carried out (see the ledger).
    pub last_order: u64,
    /// When it was given, in milliseconds since 1970.
    #[serde(default)]
    pub last_order_ms: u64,
}

/// Where the ramp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No ramp: the guard judges and tells, and moves nothing.
    Watching,
    /// At 0%, learning what agreement is when nothing is wrong.
    Baseline,
    /// At a step of the plan.
    Step,
}

/// Why and since when something is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// In words.
    pub reason: String,
}

impl State {
    /// Before any ramp.
    #[must_use]
    pub fn new(plan: Raw, steps: usize) -> Self {
        Self {
            version: VERSION,
            plan,
            phase: Phase::Watching,
            since_ms: 0,
            settled_ms: None,
            expected: None,
            pending: None,
            paused: None,
            latched: None,
            frozen: None,
            approved: false,
            model: None,
            requests_from: None,
            agreement: agreement::State::default(),
            accept: accept::State::new(steps),
            ratio: ratio::State::new(steps),
            fallback: rate::State::default(),
            latency: rate::State::default(),
            signals: signals::State::default(),
            last_order: 0,
            last_order_ms: 0,
        }
    }
}

/// A share as Envoy's runtime writes it.
mod share_text {
    use contract::share::Share;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(share: &Option<Share>, to: S) -> Result<S::Ok, S::Error> {
        share.map(Share::to_runtime).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Share>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        Share::from_runtime(&text).map(Some).ok_or_else(|| D::Error::custom(format!("{text:?} is no share")))
    }
}
