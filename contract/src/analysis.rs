//! The scorer's aggregates of responses and feedback for `perch analyse`.
//!
//! `GET {PATH}?{SINCE}=MS&{LEAVE_OUT}=COHORT[,COHORT]` returns [`Analysis`] as JSON. Everything is aggregated where it
//! is stored, so its size is bounded ([`MOST_PAIRS`], [`MOST_SAMPLES`]) for any traffic. The scorer returns
//! counts and sums only; rates, intervals and tests are computed by the reader. In the fields `rule` is the baseline
//! and `model` the candidate.

use serde::{Deserialize, Serialize};

use crate::evidence::{Clusters, Feedback, Users};
use crate::names::{Arm, Cohort};

/// Path of the scorer's endpoint.
pub const PATH: &str = "/perch/v1/analysis";
/// Query parameter: start of the counts, in milliseconds since 1970; all stored counts when absent.
pub const SINCE: &str = "since_ms";
/// Query parameter: cohorts to leave out, separated by commas; none when absent.
pub const LEAVE_OUT: &str = "leave_out";
/// Version of this shape; a reader takes no other.
pub const VERSION: u8 = 1;
/// Most cells of [`Analysis::pairs`] and of [`Analysis::taken`], the largest ones.
pub const MOST_PAIRS: usize = 5_000;
/// Most entries of [`Analysis::samples`].
pub const MOST_SAMPLES: usize = 500;
/// Counts are stored in slots of this length, in seconds, which is the resolution of [`SINCE`].
pub const SLOT_SECONDS: i64 = 600;
/// Counts are stored for this long, in seconds.
pub const KEPT_SECONDS: i64 = 30 * 86_400;
/// Number of groups into which a hash of the pseudonym divides the users. A group is a unit of [`Analysis::agreement`]:
/// users are independent, the items of one user are not.
pub const USER_GROUPS: u64 = 128;

/// All that `perch analyse` works with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// [`VERSION`].
    pub version: u8,
    /// Start of the counts below, in milliseconds since 1970: the beginning of the slot that contains the requested
    /// moment.
    pub since_ms: u64,
    /// End of the counts, in milliseconds since 1970.
    pub until_ms: u64,
    /// Cohorts that were left out.
    pub left_out: Vec<Cohort>,
    /// Items by the labels of the two responses.
    pub pairs: Vec<Pair>,
    /// Items on which both responses have an opinion (`given`) and the same one (`accepted`), by group of users.
    pub agreement: Clusters,
    /// Users by arm, without those of any cohort, since `since_ms` or since the scorer started, whichever is later.
    /// `None` where the scorer does not observe.
    pub users: Option<Users>,
    /// Feedback by the arm that gave the response, by user.
    pub feedback: Feedback,
    /// The same, on responses with which the other response disagrees.
    pub disputed: Feedback,
    /// Labels that users accepted where the responses disagree, by pair of labels.
    pub taken: Vec<PairFeedback>,
    /// Some disagreements, drawn uniformly from all since the model changed. They may be older than `since_ms`.
    pub samples: Vec<Sample>,
    /// Disagreements since the scorer started whose feedback is unknown, since the store was too slow.
    pub disputes_dropped: u64,
}

/// Items of one cell of the matrix. A label is `None` where the response has no opinion (it abstains or gives none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The baseline's label.
    pub rule: Option<String>,
    /// The candidate's label.
    pub model: Option<String>,
    /// The arm that the client was given.
    pub served: Arm,
    /// Number of items.
    pub items: u64,
}

/// The label that a user accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Took {
    /// The baseline's.
    Rule,
    /// The candidate's.
    Model,
    /// A third one.
    Another,
    /// None: the user rejected the label and named no other.
    Nothing,
}

impl Took {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::Rule, Self::Model, Self::Another, Self::Nothing];

    /// The stored form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Model => "model",
            Self::Another => "another",
            Self::Nothing => "nothing",
        }
    }
}

/// Feedback on responses with one pair of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFeedback {
    /// The baseline's label.
    pub rule: String,
    /// The candidate's label.
    pub model: String,
    /// The arm that the client was given.
    pub served: Arm,
    /// The accepted label.
    pub took: Took,
    /// Number of feedback entries.
    pub times: u64,
}

/// One disagreement, to be shown to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Time of the observation, in milliseconds since 1970.
    pub at_ms: u64,
    /// The user's pseudonym, if the request had an identity.
    pub user: Option<String>,
    /// The item's id.
    pub item: String,
    /// The arm that the client was given.
    pub served: Arm,
    /// The baseline's label.
    pub rule_label: String,
    /// The candidate's label.
    pub model_label: String,
    /// The model's confidence, 0 to 1, where it is known.
    pub model_confidence: Option<f64>,
    /// The model's version, empty where it is not known.
    pub model_version: String,
}

/// The cohorts that [`LEAVE_OUT`] names.
///
/// # Errors
/// The first name that is not a cohort.
pub fn left_out(names: &str) -> Result<Vec<Cohort>, NotACohort> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(cohort).collect()
}

fn cohort(name: &str) -> Result<Cohort, NotACohort> {
    Cohort::ALL.iter().find(|cohort| cohort.as_str() == name).copied().ok_or_else(|| NotACohort(name.to_owned()))
}

/// A name that is not a cohort.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cohort: give none (users outside of any cohort), beta or opt_out")]
pub struct NotACohort(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cohorts_are_read_by_name_and_a_wrong_one_is_named() {
        assert_eq!(left_out(" beta,opt_out "), Ok(vec![Cohort::Beta, Cohort::OptOut]));
        assert_eq!(left_out(""), Ok(vec![]));
        assert!(left_out("alpha").unwrap_err().to_string().contains("alpha"));
    }

    #[test]
    fn a_response_without_opinion_is_null_in_json() {
        let pair = Pair { rule: None, model: Some("coffee".into()), served: Arm::Candidate, items: 3 };
        let text = serde_json::to_string(&pair).unwrap();
        assert_eq!(text, r#"{"rule":null,"model":"coffee","served":"candidate","items":3}"#);
        assert_eq!(serde_json::from_str::<Pair>(&text).unwrap(), pair);
    }
}
