//! The result of an evaluation: one decision, and for each check its outcome, value, bounds, threshold, sample and
//! reason.

use serde::{Deserialize, Serialize};

/// The reason of a hold at a step that an operator must approve and has not.
pub const APPROVAL_REQUIRED: &str = "this step requires approval: `perch ramp approve`";

/// A check of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Agreement of baseline and candidate.
    Agreement,
    /// Accept rate of the candidate's responses minus that of the baseline's.
    AcceptRate,
    /// Share of the users in the candidate's arm.
    SampleRatio,
    /// Canary requests for which the baseline was served because the candidate failed.
    Fallback,
    /// Slow responses to canary users.
    Latency,
    /// Requests for which no model was available.
    Availability,
    /// Observations that were dropped.
    Dropped,
    /// Disagreement of baseline or candidate with itself.
    Noise,
    /// F1 of the serving model.
    F1,
    /// Drift of the features.
    Drift,
}

impl Check {
    /// Its name in metrics, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::AcceptRate => "accept_rate",
            Self::SampleRatio => "sample_ratio",
            Self::Fallback => "fallback",
            Self::Latency => "latency",
            Self::Availability => "availability",
            Self::Dropped => "dropped",
            Self::Noise => "noise",
            Self::F1 => "f1",
            Self::Drift => "drift",
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// Good enough to advance.
    Pass,
    /// Proven to be past its threshold.
    Breach,
    /// Neither: more evidence is needed.
    Open,
    /// Nothing was measured; treated neither as a pass nor as a breach.
    NoData,
}

impl CheckOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Breach, Self::Open, Self::NoData];

    /// Its name in metrics, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Breach => "breach",
            Self::Open => "open",
            Self::NoData => "no_data",
        }
    }
}

/// The unit of a check's sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests.
    Requests,
    /// Users.
    Users,
    /// Evaluations in which some requests were counted.
    Evaluations,
}

impl Unit {
    /// Its name in JSON and in reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Users => "users",
            Self::Evaluations => "evaluations",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check.
    pub check: Check,
    /// Its outcome.
    pub outcome: CheckOutcome,
    /// If `true`, the rollout does not advance unless the check passes.
    pub blocks_advance: bool,
    /// The measured value: a share from 0 to 1, except for drift.
    pub value: Option<f64>,
    /// Lower end of the confidence sequence around the value.
    pub lower: Option<f64>,
    /// Upper end of the confidence sequence around the value.
    pub upper: Option<f64>,
    /// The threshold that the bounds are compared with.
    pub threshold: Option<f64>,
    /// Number of units behind the value.
    pub sample: f64,
    /// Unit of the sample.
    pub unit: Unit,
    /// The reason, for people.
    pub reason: String,
}

impl CheckResult {
    /// The result of a check that has nothing to judge.
    #[must_use]
    pub fn no_data(check: Check, unit: Unit, blocks_advance: bool, reason: impl Into<String>) -> Self {
        Self {
            check,
            outcome: CheckOutcome::NoData,
            blocks_advance,
            value: None,
            lower: None,
            upper: None,
            threshold: None,
            sample: 0.0,
            unit,
            reason: reason.into(),
        }
    }
}

/// The action of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Set the share of the next step.
    Advance,
    /// Keep the share.
    Hold,
    /// Keep the share until an operator resumes.
    Freeze,
    /// Set the share to 0% and keep it there until an operator resumes.
    Rollback,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Advance, Self::Hold, Self::Freeze, Self::Rollback];

    /// Its name in metrics, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advance => "advance",
            Self::Hold => "hold",
            Self::Freeze => "freeze",
            Self::Rollback => "rollback",
        }
    }
}

/// The decision of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Time of the evaluation, in milliseconds since 1970.
    pub at_ms: u64,
    /// The action.
    pub action: Action,
    /// The share to set, in the syntax of Envoy's runtime; for advance and rollback.
    pub set_share: Option<String>,
    /// The reasons, the most important first.
    pub reasons: Vec<String>,
    /// The result of every check.
    pub checks: Vec<CheckResult>,
}

impl Decision {
    /// The result of `check`.
    #[must_use]
    pub fn check(&self, check: Check) -> Option<&CheckResult> {
        self.checks.iter().find(|result| result.check == check)
    }
}
