//! What the guard sees at a look. Totals are cumulative and only grow (a source makes up for restarts of what it
//! reads); what could not be read is `None`, which is not 0.

use contract::evidence::Evidence;
use contract::share::Share;
use stats::moments::Moments;

/// One look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The share that the gateways hold.
    pub share: SeenShare,
    /// Agreement by request, both arms together.
    pub requests: Option<Moments>,
    /// Agreement by item, both arms together.
    pub items: Option<Items>,
    /// Agreement of a side with itself, by request.
    pub noise: Option<Moments>,
    /// Requests of canary users.
    pub canary: Option<Part>,
    /// Requests with an identity, and those of them that fell to the model's arm (fallbacks included).
    pub assigned: Option<Part>,
    /// Answers to canary users, and those slower than the plan's budget.
    pub canary_slow: Option<Part>,
    /// Answers of the rules to the others, and the slow ones.
    pub rule_slow: Option<Part>,
    /// Observations due, and those that were dropped.
    pub dropped: Option<Part>,
    /// Requests on which the model was asked, and those without a model to ask.
    pub unavailable: Option<Part>,
    /// Evidence by user, since [`super::Guard::evidence_since`].
    pub evidence: Option<Evidence>,
    /// The model that serves.
    pub model: SeenModel,
    /// Its macro F1, 0..=1.
    pub f1: Option<f64>,
    /// The feature that drifted most, and how much (population stability index).
    pub drift: Option<(String, f64)>,
    /// What is missing from the counters or cannot be trusted, in words. Breaches count all the same, since what was
    /// counted is true; the ramp does not advance.
    pub doubts: Vec<String>,
}

/// The share that the gateways hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeenShare {
    /// No gateway could be asked, or one could not.
    #[default]
    Unknown,
    /// The gateways differ; in words.
    Differs(String),
    /// All hold this one.
    Is(Share),
}

/// The model that serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeenModel {
    /// Not known.
    #[default]
    Unknown,
    /// Scorers serve different ones; in words.
    Differs(String),
    /// This version.
    Is(String),
}

/// Items by verdict, cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Items {
    /// Both sides agree.
    pub agree: f64,
    /// They differ.
    pub differ: f64,
}

/// A part of a whole, both cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The whole.
    pub all: f64,
    /// The part.
    pub part: f64,
}

impl Part {
    /// What came since `earlier`; the part is held within the whole, since counters are read one after another.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let all = (self.all - earlier.all).max(0.0);
        Self { all, part: (self.part - earlier.part).max(0.0).min(all) }
    }

    /// The part's share of the whole; `None` of nothing.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        (self.all > 0.0).then(|| self.part / self.all)
    }
}
