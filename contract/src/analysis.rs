//! What the scorer keeps of the two sides' answers, and of what people said to them, for `perch analyse`.
//!
//! `GET {PATH}?{SINCE}=MS&{LEAVE_OUT}=COHORT[,COHORT]` answers [`Analysis`] as JSON. Everything is aggregated where it is
//! stored, so its size has a bound ([`MOST_PAIRS`], [`MOST_SAMPLES`]) whatever the traffic was. The scorer gives counts
//! and sums only; rates, intervals and tests are the reader's work.

use serde::{Deserialize, Serialize};

use crate::evidence::{Clusters, Feedback, Users};
use crate::names::{Arm, Cohort};

/// Path of the scorer's endpoint.
pub const PATH: &str = "/perch/v1/analysis";
/// Query parameter: count from here, in milliseconds since 1970; everything that is kept when absent.
pub const SINCE: &str = "since_ms";
/// Query parameter: cohorts that are left out, separated by commas; none when absent.
pub const LEAVE_OUT: &str = "leave_out";
/// Version of this shape; a reader takes no other.
pub const VERSION: u8 = 1;
/// Most cells of [`Analysis::pairs`] and of [`Analysis::taken`], the largest ones.
pub const MOST_PAIRS: usize = 5_000;
/// Most entries of [`Analysis::samples`].
pub const MOST_SAMPLES: usize = 500;
/// Counts are kept by slots of this length, in seconds, so that is how exact a beginning can be.
pub const SLOT_SECONDS: i64 = 600;
/// For how long counts are kept, in seconds.
pub const KEPT_SECONDS: i64 = 30 * 86_400;
/// Groups into which users are dealt by a hash of their pseudonym. A group is a unit of [`Analysis::agreement`]: users
/// are independent, the items of one user are not.
pub const USER_GROUPS: u64 = 128;

/// Everything that `perch analyse` works with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// [`VERSION`].
    pub version: u8,
    /// From when on everything below is counted, in milliseconds since 1970: the beginning of the slot in which the
    /// moment lies that was asked for.
    pub since_ms: u64,
    /// When it was put together, in milliseconds since 1970.
    pub until_ms: u64,
    /// Cohorts that were left out.
    pub left_out: Vec<Cohort>,
    /// Items by what each side said of them.
    pub pairs: Vec<Pair>,
    /// Items on which both sides have an opinion (`given`) and the same (`accepted`), groups of users being the units.
    pub agreement: Clusters,
    /// Users by arm, without those of any cohort, since `since_ms` or since the scorer started, whichever is later. `None`
    /// where the scorer does not observe.
    pub users: Option<Users>,
    /// Feedback by the side that gave the answer, users being the units.
    pub feedback: Feedback,
    /// The same of answers on which the other side disagrees.
    pub disputed: Feedback,
    /// What people took where the sides disagree, by pair of labels.
    pub taken: Vec<Taken>,
    /// Some disagreements, drawn evenly from all since the model changed. They may be older than `since_ms`.
    pub samples: Vec<Sample>,
    /// Disagreements whose feedback cannot be told, since the store was not quick enough, since the scorer started.
    pub disputes_dropped: u64,
}

/// Items of one cell of the matrix. A label is `None` where the side has no opinion (it abstains or gives none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// What the rules say.
    pub rule: Option<String>,
    /// What the model says.
    pub model: Option<String>,
    /// Who answered the client.
    pub served: Arm,
    /// How many.
    pub items: u64,
}

/// Whose answer it was that somebody took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Took {
    /// The rules'.
    Rule,
    /// The model's.
    Model,
    /// A third one.
    Another,
    /// None: what was served was rejected and no other label named.
    Nothing,
}

impl Took {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rule, Self::Model, Self::Another, Self::Nothing];

    /// As it is stored.
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

/// Feedback on answers of one pair of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What the rules say.
    pub rule: String,
    /// What the model says.
    pub model: String,
    /// Who answered the client.
    pub served: Arm,
    /// What was taken.
    pub took: Took,
    /// How often.
    pub times: u64,
}

/// One disagreement, for people to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was seen, in milliseconds since 1970.
    pub at_ms: u64,
    /// The user's pseudonym, if the request had an identity.
    pub user: Option<String>,
    /// The item's id.
    pub item: String,
    /// Who answered the client.
    pub served: Arm,
    /// What the rules say.
    pub rule_label: String,
    /// What the model says.
    pub model_label: String,
    /// The model's confidence, 0 to 1, where it is known.
    pub model_confidence: Option<f64>,
    /// The model's version, empty where it is not known.
    pub model_version: String,
}

/// The cohorts that [`LEAVE_OUT`] names.
///
/// # Errors
/// The first name that is no cohort.
pub fn left_out(names: &str) -> Result<Vec<Cohort>, NotACohort> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(cohort).collect()
}

fn cohort(name: &str) -> Result<Cohort, NotACohort> {
    Cohort::ALL.iter().find(|cohort| cohort.as_str() == name).copied().ok_or_else(|| NotACohort(name.to_owned()))
}

/// A name that is no cohort's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cohort: give none (everybody who is in no cohort), beta or opt_out")]
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
    fn a_side_without_opinion_is_null_in_json() {
        let pair = Pair { rule: None, model: Some("coffee".into()), served: Arm::Candidate, items: 3 };
        let text = serde_json::to_string(&pair).unwrap();
        assert_eq!(text, r#"{"rule":null,"model":"coffee","served":"candidate","items":3}"#);
        assert_eq!(serde_json::from_str::<Pair>(&text).unwrap(), pair);
    }
}
