//! The guard's state. It is stored after every evaluation, so that a guard continues after a restart where it was.

use contract::switch::Share;
use serde::{Deserialize, Serialize};

use super::checks::{accept_rate, agreement, rate, sample_ratio, signals};
use super::plan::raw::RawPlan;

/// Version of the stored form; a state of another version is rejected.
pub const VERSION: u32 = 1;

/// Everything that the guard keeps between two evaluations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GuardState {
    /// [`VERSION`].
    pub version: u32,
    /// The rollout plan as written.
    pub plan: RawPlan,
    /// Phase of the rollout.
    pub phase: Phase,
    /// Start of the phase or step, in milliseconds since 1970.
    pub since_ms: u64,
    /// From this time on, counts by arm belong to the present share alone; in milliseconds since 1970.
    pub settled_ms: Option<u64>,
    /// The share that the gateways should hold: the one that the guard set, or read first. `None` before the first
    /// evaluation.
    #[serde(with = "share_text")]
    pub expected: Option<Share>,
    /// A share that the guard has decided to set and that no gateway has confirmed yet.
    #[serde(with = "share_text")]
    pub pending: Option<Share>,
    /// Set while an operator's command or manual override keeps the guard from acting.
    pub paused: Option<Stop>,
    /// Set after a rollback, until an operator resumes.
    pub latched: Option<Stop>,
    /// Set while the rollout is frozen.
    pub frozen: Option<Stop>,
    /// An operator has approved leaving this step.
    pub approved: bool,
    /// Version of the model that is being rolled out.
    pub model: Option<String>,
    /// Count of requests when the step began.
    pub requests_from: Option<f64>,
    /// Evidence on agreement.
    pub agreement: agreement::AgreementState,
    /// Evidence on accept rates.
    pub accept_rate: accept_rate::AcceptRateState,
    /// Evidence on the split.
    pub sample_ratio: sample_ratio::SampleRatioState,
    /// Evidence on fallbacks.
    pub fallback: rate::RateState,
    /// Evidence on slow responses.
    pub latency: rate::RateState,
    /// Recent values of the signals.
    pub signals: signals::SignalState,
    /// Number of the audit log's entry with the last command that was processed.
    pub last_command: u64,
    /// When that command was given, in milliseconds since 1970.
    #[serde(default)]
    pub last_command_ms: u64,
}

/// Phase of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No rollout is in progress: the guard evaluates and reports, and changes nothing.
    Watching,
    /// At 0 %, measuring the agreement that the rollout is compared with.
    Baseline,
    /// At a step of the plan.
    Step,
}

/// A reason why the guard does not advance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Since when, in milliseconds since 1970.
    pub at_ms: u64,
    /// The reason, for people.
    pub reason: String,
}

impl GuardState {
    /// The state before any rollout, for a plan of `steps` steps.
    #[must_use]
    pub fn new(plan: RawPlan, steps: usize) -> Self {
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
            agreement: agreement::AgreementState::default(),
            accept_rate: accept_rate::AcceptRateState::new(steps),
            sample_ratio: sample_ratio::SampleRatioState::new(steps),
            fallback: rate::RateState::default(),
            latency: rate::RateState::default(),
            signals: signals::SignalState::default(),
            last_command: 0,
            last_command_ms: 0,
        }
    }
}

/// A share in the syntax of Envoy's runtime.
mod share_text {
    use contract::switch::Share;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(share: &Option<Share>, to: S) -> Result<S::Ok, S::Error> {
        share.map(Share::to_runtime).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Share>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        Share::from_runtime(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a share in the syntax of Envoy's runtime")))
    }
}
