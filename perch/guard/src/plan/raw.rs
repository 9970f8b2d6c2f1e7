//! The plan as it is written. Every field has a default, so the shortest plan is `{}`: the seed's ramp.

use serde::{Deserialize, Serialize};

/// A plan file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Shares in rising order: `10%`, or a mapping with what this step does differently.
    pub steps: Vec<RawStep>,
    /// Shortest time at a step, e.g. `48h`.
    pub minimum_time: String,
    /// Fewest requests at a step.
    pub minimum_requests: u64,
    /// Time after a change of the share in which arms are not yet compared, longer than Prometheus' scrape interval.
    pub settle_time: String,
    /// How agreement is when nothing is wrong.
    pub baseline: RawBaseline,
    /// Chance that a whole ramp is rolled back although nothing is wrong, 0..1, shared by the checks that roll back.
    pub false_rollback_at_most: f64,
    /// Agreement of the two sides.
    pub agreement: RawAgreement,
    /// Accept rate of the model's answers against the rules' answers.
    pub accept_rate: RawAcceptRate,
    /// Split of the users.
    pub sample_ratio: RawSampleRatio,
    /// Canary requests that the rules had to answer.
    pub fallback: RawFallback,
    /// Slow answers to canary users.
    pub latency: RawLatency,
    /// Signals: past a limit they hold the ramp, and nothing else.
    pub signals: RawSignals,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            steps: ["1%", "5%", "10%", "25%", "50%", "100%"].map(|share| RawStep::Share(share.to_owned())).to_vec(),
            minimum_time: "48h".to_owned(),
            minimum_requests: 1_000,
            settle_time: "20s".to_owned(),
            baseline: RawBaseline::default(),
            false_rollback_at_most: 0.01,
            agreement: RawAgreement::default(),
            accept_rate: RawAcceptRate::default(),
            sample_ratio: RawSampleRatio::default(),
            fallback: RawFallback::default(),
            latency: RawLatency::default(),
            signals: RawSignals::default(),
        }
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawStep {
    /// The share alone.
    Share(String),
    /// The share with exceptions.
    Full(RawFullStep),
}

/// A step that differs from the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFullStep {
    /// E.g. `10%`.
    pub share: String,
    /// Instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_time: Option<String>,
    /// Instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_requests: Option<u64>,
    /// Wait for a human before leaving this step.
    #[serde(default)]
    pub manual: bool,
}

/// The time at 0% before the first step, when agreement is learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawBaseline {
    /// Agreement to hold the ramp against, 0..1; absent: learn it.
    pub agreement: Option<f64>,
    /// Shortest time to learn.
    pub minimum_time: String,
    /// Fewest judged requests to learn from.
    pub minimum_requests: u64,
}

impl Default for RawBaseline {
    fn default() -> Self {
        Self { agreement: None, minimum_time: "48h".to_owned(), minimum_requests: 5_000 }
    }
}

/// What a breach does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawOnBreach {
    /// Back to 0%.
    Rollback,
    /// Stay where it is.
    Hold,
    /// Not judged.
    Off,
}

/// Agreement of the two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAgreement {
    /// What a breach does.
    pub on_breach: RawOnBreach,
    /// How far below the baseline agreement may fall, as a difference of shares, 0..1.
    pub tolerated_drop: f64,
    /// Agreement below this is a breach whatever the baseline was, 0..1; absent: the baseline alone counts.
    pub floor: Option<f64>,
}

impl Default for RawAgreement {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, tolerated_drop: 0.01, floor: None }
    }
}

/// Accept rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAcceptRate {
    /// What a breach does.
    pub on_breach: RawOnBreach,
    /// How far the model's accept rate may be below the rules', as a difference of shares, 0..1.
    pub tolerated_drop: f64,
    /// Users with feedback in each arm below which nothing is said (the comparison holds in the limit only).
    pub minimum_users: u64,
    /// Must the model be shown to be no worse before each advance? Otherwise it must only not be shown to be worse.
    pub required: bool,
}

impl Default for RawAcceptRate {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, tolerated_drop: 0.02, minimum_users: 100, required: false }
    }
}

/// Split of the users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSampleRatio {
    /// Chance that a whole ramp is frozen although users split as wanted, 0..1.
    pub false_freeze_at_most: f64,
    /// Where only requests can be counted: no user makes more than this many in one step. Too low a number freezes a
    /// sound ramp, too high a one finds a mismatch late.
    pub requests_per_user_at_most: f64,
}

impl Default for RawSampleRatio {
    fn default() -> Self {
        Self { false_freeze_at_most: 0.005, requests_per_user_at_most: 100.0 }
    }
}

/// Canary requests that the rules had to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawFallback {
    /// What a breach does.
    pub on_breach: RawOnBreach,
    /// Share of canary requests that may fall back, 0..1.
    pub at_most: f64,
}

impl Default for RawFallback {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, at_most: 0.05 }
    }
}

/// Slow answers to canary users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLatency {
    /// What a breach does.
    pub on_breach: RawOnBreach,
    /// An answer is slow from here on, in seconds: one of the edges of the histogram that the scorer keeps.
    pub budget_seconds: f64,
    /// Share of canary answers that may be slower than that, beyond those of the rules, 0..1.
    pub slow_at_most: f64,
}

impl Default for RawLatency {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, budget_seconds: 0.25, slow_at_most: 0.05 }
    }
}

/// Limits of signals; each may be left out with `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSignals {
    /// Share of requests for which there was a model to ask, lately, 0..1.
    pub availability_at_least: Option<f64>,
    /// Share of observations dropped, lately, 0..1.
    pub dropped_at_most: Option<f64>,
    /// Share of items on which a side does not repeat itself, 0..1.
    pub noise_at_most: Option<f64>,
    /// Macro F1 of the serving model, 0..1.
    pub f1_at_least: Option<f64>,
    /// Population stability index of any feature.
    pub drift_at_most: Option<f64>,
}

impl Default for RawSignals {
    fn default() -> Self {
        Self {
            availability_at_least: Some(0.95),
            dropped_at_most: Some(0.05),
            noise_at_most: Some(0.05),
            f1_at_least: Some(0.72),
            drift_at_most: Some(0.25),
        }
    }
}
