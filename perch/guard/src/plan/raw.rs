//! The plan as written in its file. Every field has a default, so the shortest plan is `{}`.

use serde::{Deserialize, Serialize};

/// A plan file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawPlan {
    /// Shares in rising order: `10%`, or a mapping with settings of its own.
    pub steps: Vec<RawStep>,
    /// Shortest time at a step, e.g. `48h`.
    pub minimum_time: String,
    /// Fewest requests at a step.
    pub minimum_requests: u64,
    /// Time after a change of the share during which arms are not compared; longer than Prometheus' scrape interval.
    pub settle_time: String,
    /// The measurement before the first step.
    pub baseline: RawBaseline,
    /// Probability that a whole rollout is rolled back although nothing is wrong, 0..1, shared by the checks that roll
    /// back.
    pub false_rollback_at_most: f64,
    /// Agreement of baseline and candidate.
    pub agreement: RawAgreement,
    /// Accept rate of the candidate's responses compared with the baseline's.
    pub accept_rate: RawAcceptRate,
    /// Split of the users between the arms.
    pub sample_ratio: RawSampleRatio,
    /// Canary requests for which the candidate failed.
    pub fallback: RawFallback,
    /// Slow responses to canary users.
    pub latency: RawLatency,
    /// Signals, which hold the rollout while they are past a limit.
    pub signals: RawSignals,
}

impl Default for RawPlan {
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

/// A step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawStep {
    /// A share, with the plan's settings.
    Share(String),
    /// A share with settings of its own.
    Full(RawFullStep),
}

/// A step with settings of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFullStep {
    /// The canary share, e.g. `10%`.
    pub share: String,
    /// Shortest time at this step instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_time: Option<String>,
    /// Fewest requests at this step instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_requests: Option<u64>,
    /// Leaving this step requires an operator's approval.
    #[serde(default)]
    pub manual: bool,
}

/// The time at 0% before the first step, during which agreement is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawBaseline {
    /// Known agreement, 0..1; without it, agreement is measured.
    pub agreement: Option<f64>,
    /// Shortest time of the measurement.
    pub minimum_time: String,
    /// Fewest compared requests of the measurement.
    pub minimum_requests: u64,
}

impl Default for RawBaseline {
    fn default() -> Self {
        Self { agreement: None, minimum_time: "48h".to_owned(), minimum_requests: 5_000 }
    }
}

/// The action on a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawOnBreach {
    /// Set the share to 0%.
    Rollback,
    /// Keep the share.
    Hold,
    /// Do not run the check.
    Off,
}

/// Settings of the check of agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAgreement {
    /// The action on a breach.
    pub on_breach: RawOnBreach,
    /// Tolerated drop of agreement below its baseline, as a difference of shares, 0..1.
    pub tolerated_drop: f64,
    /// Agreement below this is a breach whatever the baseline was, 0..1; without it, only the baseline counts.
    pub floor: Option<f64>,
}

impl Default for RawAgreement {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, tolerated_drop: 0.01, floor: None }
    }
}

/// Settings of the check of accept rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawAcceptRate {
    /// The action on a breach.
    pub on_breach: RawOnBreach,
    /// Tolerated drop of the candidate's accept rate below the baseline's, as a difference of shares, 0..1.
    pub tolerated_drop: f64,
    /// Fewest users with feedback in each arm, since the comparison is valid for many users only.
    pub minimum_users: u64,
    /// If `true`, each advance requires proof that the candidate is not worse; otherwise it requires that the candidate
    /// is not proven to be worse.
    pub required: bool,
}

impl Default for RawAcceptRate {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, tolerated_drop: 0.02, minimum_users: 100, required: false }
    }
}

/// Settings of the check of the split between the arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSampleRatio {
    /// Probability that a whole rollout is frozen although the split of users fits the share, 0..1.
    pub false_freeze_at_most: f64,
    /// Most requests of one user in one step, for deployments where only requests can be counted. If it is too low,
    /// sound rollouts freeze; if it is too high, a mismatch is found late.
    pub requests_per_user_at_most: f64,
}

impl Default for RawSampleRatio {
    fn default() -> Self {
        Self { false_freeze_at_most: 0.005, requests_per_user_at_most: 100.0 }
    }
}

/// Settings of the check of fallbacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawFallback {
    /// The action on a breach.
    pub on_breach: RawOnBreach,
    /// Highest allowed share of canary requests that fall back, 0..1.
    pub at_most: f64,
}

impl Default for RawFallback {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, at_most: 0.05 }
    }
}

/// Settings of the check of slow responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLatency {
    /// The action on a breach.
    pub on_breach: RawOnBreach,
    /// A response that takes longer is slow, in seconds: one of the bucket bounds of the scorer's histogram.
    pub budget_seconds: f64,
    /// Highest allowed share of slow canary responses, beyond the baseline's own share, 0..1.
    pub slow_at_most: f64,
}

impl Default for RawLatency {
    fn default() -> Self {
        Self { on_breach: RawOnBreach::Rollback, budget_seconds: 0.25, slow_at_most: 0.05 }
    }
}

/// Limits of the signals; `null` switches a signal off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSignals {
    /// Lowest allowed share of recent requests for which a model was available, 0..1.
    pub availability_at_least: Option<f64>,
    /// Highest allowed share of recent observations that were dropped, 0..1.
    pub dropped_at_most: Option<f64>,
    /// Highest allowed disagreement of baseline or candidate with itself, 0..1.
    pub noise_at_most: Option<f64>,
    /// Lowest allowed macro F1 of the serving model, 0..1.
    pub f1_at_least: Option<f64>,
    /// Highest allowed population stability index of any feature.
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
