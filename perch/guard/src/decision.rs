//! What the guard says at a look: one decision, and the judgement of each check behind it, with the judged value, the
//! bound, the threshold, the sample and the reason in words.

use serde::{Deserialize, Serialize};

/// What the guard judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Agreement of the two sides.
    Agreement,
    /// Accept rate of the model's answers minus that of the rules'.
    AcceptRate,
    /// Share of the users in the model's arm.
    SampleRatio,
    /// Canary requests that the rules had to answer.
    Fallback,
    /// Slow answers to canary users.
    Latency,
    /// Was there a model to ask?
    Availability,
    /// Observations that were dropped.
    Dropped,
    /// Does a side repeat itself?
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

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good enough to go on.
    Pass,
    /// Shown to be past its threshold.
    Breach,
    /// Neither: more evidence is needed.
    Open,
    /// Nothing to judge. Never read as good, nor as bad.
    NoData,
}

impl Verdict {
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

/// What a check's sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests.
    Requests,
    /// Users.
    Users,
    /// Looks, each of which saw some requests.
    Looks,
}

impl Unit {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Users => "users",
            Self::Looks => "looks",
        }
    }
}

/// What one check found, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The check.
    pub check: Check,
    /// What it found.
    pub verdict: Verdict,
    /// Does it hold the ramp when it does not pass?
    pub needed: bool,
    /// The judged value; a share, but for drift.
    pub value: Option<f64>,
    /// Lower end of the interval around it that holds however often one looks.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// What it is held against.
    pub threshold: Option<f64>,
    /// How many units are behind the value.
    pub sample: f64,
    /// What a unit is.
    pub unit: Unit,
    /// In words.
    pub reason: String,
}

impl Judgement {
    /// Nothing to judge.
    #[must_use]
    pub fn no_data(check: Check, unit: Unit, needed: bool, reason: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::NoData,
            needed,
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

/// What the guard wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// On to the next step.
    Advance,
    /// Stay.
    Hold,
    /// Stay, and let nothing but a human go on.
    Freeze,
    /// To 0%, latched.
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

/// One look's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What is wanted.
    pub action: Action,
    /// The share to set, as Envoy's runtime writes it; for advance and rollback.
    pub set_share: Option<String>,
    /// Why, in words; the first is the most important.
    pub reasons: Vec<String>,
    /// Every check.
    pub judgements: Vec<Judgement>,
}

impl Decision {
    /// The judgement of `check`.
    #[must_use]
    pub fn of(&self, check: Check) -> Option<&Judgement> {
        self.judgements.iter().find(|judgement| judgement.check == check)
    }
}
