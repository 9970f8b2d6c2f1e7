//! Every stat that the filter writes: its place among [`crate::decision::accounting::PendingCounts`] and its name in Envoy.
//!
//! Metric names come from [`contract::series`], label values from [`contract::names`]. All stats are defined when the plugin
//! is configured, so that each exists, at 0, from the first scrape; their ids are kept, so no name is looked up for a
//! request.

use contract::names::{
    Agree, Arm, BatchOutcome, FallbackReason, IdentitySource, NotCompared, OTHER_LABEL, Outcome, PassedThrough, Source,
};
use contract::series::{
    ABSTAINED, BATCH, COMPARE, FAILURES, FALLBACK, IDENTITY, INTERCEPTED, LABEL_COMPARE, NOT_COMPARED, OBSERVATION,
    PASSED_THROUGH, PREDICT_REQUESTS, SHARE_STALE, SOURCE,
};

/// The two values of the label `available`, in the order of their stats.
const AVAILABLE: [&str; 2] = ["False", "True"];

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    /// [`COMPARE`].
    Compare(Agree),
    /// [`SOURCE`].
    Source(Arm),
    /// [`PREDICT_REQUESTS`].
    Predict(bool),
    /// [`FALLBACK`].
    Fallback(FallbackReason),
    /// [`PASSED_THROUGH`].
    PassedThrough(PassedThrough),
    /// [`SHARE_STALE`].
    ShareStale,
    /// [`INTERCEPTED`].
    Intercepted,
    /// [`FAILURES`].
    Failure,
    /// [`OBSERVATION`].
    Observation(Outcome),
    /// [`NOT_COMPARED`].
    NotCompared(NotCompared),
    /// [`ABSTAINED`].
    Abstained(Arm),
    /// [`IDENTITY`].
    Identity(IdentitySource),
    /// [`BATCH`].
    Batch(BatchOutcome),
    /// [`LABEL_COMPARE`], by the label's place in the configured set; any place beyond it is [`OTHER_LABEL`].
    Label(usize, Agree),
}

const SOURCE_AT: usize = Agree::ALL.len();
const PREDICT_AT: usize = SOURCE_AT + Arm::ALL.len();
const FALLBACK_AT: usize = PREDICT_AT + AVAILABLE.len();
const PASSED_THROUGH_AT: usize = FALLBACK_AT + FallbackReason::ALL.len();
const SHARE_STALE_AT: usize = PASSED_THROUGH_AT + PassedThrough::ALL.len();
const INTERCEPTED_AT: usize = SHARE_STALE_AT + 1;
const FAILURE_AT: usize = INTERCEPTED_AT + 1;
const OBSERVATION_AT: usize = FAILURE_AT + 1;
const NOT_COMPARED_AT: usize = OBSERVATION_AT + Outcome::ALL.len();
const ABSTAINED_AT: usize = NOT_COMPARED_AT + NotCompared::ALL.len();
const IDENTITY_AT: usize = ABSTAINED_AT + Arm::ALL.len();
const BATCH_AT: usize = IDENTITY_AT + IdentitySource::ALL.len();
const LABELS_AT: usize = BATCH_AT + BatchOutcome::ALL.len();

impl Stat {
    /// The stat's place, below [`count`]; `labels` is the size of the configured set.
    #[must_use]
    pub const fn place(self, labels: usize) -> usize {
        match self {
            Self::Compare(agree) => agree as usize,
            Self::Source(arm) => SOURCE_AT + arm as usize,
            Self::Predict(available) => PREDICT_AT + available as usize,
            Self::Fallback(reason) => FALLBACK_AT + reason as usize,
            Self::PassedThrough(reason) => PASSED_THROUGH_AT + reason as usize,
            Self::ShareStale => SHARE_STALE_AT,
            Self::Intercepted => INTERCEPTED_AT,
            Self::Failure => FAILURE_AT,
            Self::Observation(outcome) => OBSERVATION_AT + outcome as usize,
            Self::NotCompared(reason) => NOT_COMPARED_AT + reason as usize,
            Self::Abstained(arm) => ABSTAINED_AT + arm as usize,
            Self::Identity(source) => IDENTITY_AT + source as usize,
            Self::Batch(result) => BATCH_AT + result as usize,
            Self::Label(label, agree) => {
                let label = if label < labels { label } else { labels };
                LABELS_AT + label * Agree::ALL.len() + agree as usize
            }
        }
    }
}

/// The number of stats with a set of `labels` labels.
#[must_use]
pub const fn count(labels: usize) -> usize {
    LABELS_AT + (labels + 1) * Agree::ALL.len()
}

/// The names of all stats, each at its [`Stat::place`].
#[must_use]
pub fn names(labels: &[String]) -> Vec<String> {
    let mut names = vec![String::new(); count(labels.len())];
    let mut put = |stat: Stat, name: String| {
        if let Some(slot) = names.get_mut(stat.place(labels.len())) {
            *slot = name;
        }
    };
    for agree in Agree::ALL {
        put(Stat::Compare(*agree), format!("{COMPARE}.agree.{}", agree.as_str()));
    }
    for arm in Arm::ALL {
        put(Stat::Source(*arm), format!("{SOURCE}.source.{}", Source::from(*arm).as_str()));
    }
    for (available, value) in [false, true].into_iter().zip(AVAILABLE) {
        put(Stat::Predict(available), format!("{PREDICT_REQUESTS}.available.{value}"));
    }
    for reason in FallbackReason::ALL {
        put(Stat::Fallback(*reason), format!("{FALLBACK}.reason.{}", reason.as_str()));
    }
    for reason in PassedThrough::ALL {
        put(Stat::PassedThrough(*reason), format!("{PASSED_THROUGH}.reason.{}", reason.as_str()));
    }
    put(Stat::ShareStale, SHARE_STALE.to_owned());
    put(Stat::Intercepted, INTERCEPTED.to_owned());
    put(Stat::Failure, FAILURES.to_owned());
    for outcome in Outcome::ALL {
        put(Stat::Observation(*outcome), format!("{OBSERVATION}.outcome.{}", outcome.as_str()));
    }
    for reason in NotCompared::ALL {
        put(Stat::NotCompared(*reason), format!("{NOT_COMPARED}.reason.{}", reason.as_str()));
    }
    for arm in Arm::ALL {
        put(Stat::Abstained(*arm), format!("{ABSTAINED}.arm.{}", arm.as_str()));
    }
    for source in IdentitySource::ALL {
        put(Stat::Identity(*source), format!("{IDENTITY}.source.{}", source.as_str()));
    }
    for result in BatchOutcome::ALL {
        put(Stat::Batch(*result), format!("{BATCH}.result.{}", result.as_str()));
    }
    let known = labels.iter().map(String::as_str).chain([OTHER_LABEL]);
    for (at, label) in known.enumerate() {
        for agree in Agree::ALL {
            put(Stat::Label(at, *agree), format!("{LABEL_COMPARE}.label.{label}.agree.{}", agree.as_str()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stat_has_a_place_and_a_name_of_its_own() {
        let labels = vec!["coffee".to_owned(), "transportation.fuel".to_owned()];
        let names = names(&labels);
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), count(2));
        assert!(!names.iter().any(String::is_empty));
    }

    #[test]
    fn names_are_those_that_the_stats_tags_expect() {
        let labels = vec!["transportation.fuel".to_owned()];
        let names = names(&labels);
        let name = |stat: Stat| names[stat.place(1)].as_str();
        assert_eq!(name(Stat::Compare(Agree::None)), "lm_suggest_compare_total.agree.None");
        assert_eq!(name(Stat::Source(Arm::Candidate)), "lm_suggest_source_total.source.model");
        assert_eq!(name(Stat::Predict(true)), "lm_ml_predict_requests_total.available.True");
        assert_eq!(name(Stat::Predict(false)), "lm_ml_predict_requests_total.available.False");
        assert_eq!(name(Stat::Fallback(FallbackReason::NotJson)), "lm_ml_fallback_total.reason.not_json");
        assert_eq!(name(Stat::Intercepted), "perch_intercepted_total");
        assert_eq!(name(Stat::Failure), "perch_filter_failures_total");
        assert_eq!(name(Stat::Observation(Outcome::Observed)), "perch_observation_total.outcome.observed");
        assert_eq!(name(Stat::NotCompared(NotCompared::Shed)), "perch_not_compared_total.reason.shed");
        assert_eq!(name(Stat::Identity(IdentitySource::Missing)), "perch_identity_total.source.none");
        assert_eq!(name(Stat::Batch(BatchOutcome::Failed)), "perch_batch_total.result.failed");
        let fuel = "perch_label_compare_total.label.transportation.fuel.agree.True";
        assert_eq!(name(Stat::Label(0, Agree::True)), fuel);
        assert_eq!(name(Stat::Label(9, Agree::False)), "perch_label_compare_total.label.other.agree.False");
    }
}
