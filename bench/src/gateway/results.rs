//! What a run has measured.

use super::case::Case;
use super::extras;
use super::observation_counts::ObservationCounts;
use super::turns::Figures;
use crate::figures::Rounds;

/// The results of one case.
pub(crate) struct CaseResults {
    pub(crate) case: Case,
    /// By key, in the order of the variants.
    pub(crate) figures: Vec<(&'static str, &'static str, Figures)>,
}

/// The results of a run.
pub(crate) struct Results {
    pub(crate) measured: Vec<CaseResults>,
    /// How many requests were observed.
    pub(crate) observed: ObservationCounts,
    pub(crate) extras: Option<Extras>,
}

/// What only a whole run measures.
pub(crate) struct Extras {
    /// p50 and p99 in µs of the scorer's own responses.
    pub(crate) candidate_alone: [f64; 2],
    pub(crate) idle: extras::Idle,
    pub(crate) frozen: Vec<extras::Frozen>,
}

impl CaseResults {
    pub(super) fn of(&self, key: &str) -> Option<&Figures> {
        self.figures.iter().find(|(found, _, _)| *found == key).map(|(_, _, figures)| figures)
    }

    /// One figure of `key` over the same of `other`.
    pub(super) fn ratio(&self, key: &str, other: &str, pick: impl Fn(&Figures) -> &Rounds) -> Rounds {
        match (self.of(key), self.of(other)) {
            (Some(mine), Some(theirs)) => pick(mine).over(pick(theirs)),
            _ => Rounds::default(),
        }
    }
}
