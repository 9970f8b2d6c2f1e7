//! The snapshot of the system that an evaluation judges. Totals are cumulative and never fall: a source makes up for
//! restarts of the programs that it reads. A value that could not be read is `None`, which is not 0.

use contract::evidence::Evidence;
use contract::share::Share;
use stats::moments::Moments;

/// A snapshot of the system.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SystemSnapshot {
    /// The share that the gateways hold.
    pub share: GatewayShare,
    /// Agreement by request, both arms together.
    pub requests: Option<Moments>,
    /// Agreement by item, both arms together.
    pub items: Option<ItemCounts>,
    /// Agreement of baseline or candidate with itself, by request.
    pub noise: Option<Moments>,
    /// Requests of canary users.
    pub canary: Option<PartCount>,
    /// Requests with an identity, and those of them in the candidate's arm (fallbacks included).
    pub assigned: Option<PartCount>,
    /// Responses to canary users, and those slower than the plan's budget.
    pub canary_slow: Option<PartCount>,
    /// Baseline responses to all other users, and the slow ones.
    pub baseline_slow: Option<PartCount>,
    /// Observations that should have reached the scorer, and those that were dropped.
    pub dropped: Option<PartCount>,
    /// Requests for which the model was called, and those for which no model was available.
    pub unavailable: Option<PartCount>,
    /// Evidence by user, since [`super::Guard::evidence_since`].
    pub evidence: Option<Evidence>,
    /// The serving model.
    pub model: ServingModel,
    /// Its macro F1, 0..=1.
    pub f1: Option<f64>,
    /// The feature that drifted most, and how much (population stability index).
    pub drift: Option<(String, f64)>,
    /// Counters that are missing or cannot be trusted, described for people. The rollout does not advance while there
    /// are any; breaches still count, since everything that was counted did happen.
    pub data_gaps: Vec<String>,
}

/// The share that the gateways hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GatewayShare {
    /// At least one gateway could not be read.
    #[default]
    Unknown,
    /// The gateways hold different shares, as described.
    Differs(String),
    /// Every gateway holds this share.
    Known(Share),
}

/// The serving model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServingModel {
    /// Not known.
    #[default]
    Unknown,
    /// The scorers serve different versions, as listed.
    Differs(String),
    /// Every scorer serves this version.
    Known(String),
}

/// Compared items, cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ItemCounts {
    /// Items on which baseline and candidate agree.
    pub agree: f64,
    /// Items on which they disagree.
    pub disagree: f64,
}

/// A count and the part of it with some property, both cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PartCount {
    /// The count of all.
    pub all: f64,
    /// The count of those with the property.
    pub part: f64,
}

impl PartCount {
    /// The counts since `earlier`. The part is limited to the whole, since counters are not read at the same instant.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let all = (self.all - earlier.all).max(0.0);
        Self { all, part: (self.part - earlier.part).max(0.0).min(all) }
    }

    /// The part's share of the whole; `None` if the whole is 0.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        (self.all > 0.0).then(|| self.part / self.all)
    }
}
