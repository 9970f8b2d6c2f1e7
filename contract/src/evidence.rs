//! What the guard asks the scorer beyond its metrics: evidence whose unit is the user, since a moment of the guard's
//! choosing (the start of a ramp step).
//!
//! A user's answers are not independent of each other, and with a sticky arm a user's habits are a lasting difference
//! between two arms that no amount of further answers averages out. So a comparison of two arms counts users, and it
//! counts them from the moment at which the share last changed: before it, some of them were in the other arm.
//!
//! `GET {PATH}?{SINCE}=MS` answers [`Evidence`] as JSON.

use serde::{Deserialize, Serialize};

pub use stats::clusters::Clusters;

/// Path of the scorer's endpoint.
pub const PATH: &str = "/perch/v1/evidence";
/// Query parameter: count from here, in milliseconds since 1970.
pub const SINCE: &str = "since_ms";
/// Version of this shape; a guard takes no other.
pub const VERSION: u8 = 1;

/// Evidence since a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`VERSION`].
    pub version: u8,
    /// From when on everything below is counted, in milliseconds since 1970: what was asked, or later when the scorer
    /// cannot look back so far (it started later).
    pub since_ms: u64,
    /// Users seen, by arm.
    pub users: Users,
    /// Feedback on answers given since then, by the arm that gave them. `None` when the store does not answer.
    pub feedback: Option<Feedback>,
}

/// How many distinct users were seen in each arm. A canary user whom the rules answered (fallback) is in arm `model`:
/// what counts is where the switch put the user. A user seen in both arms counts in both. Users of a cohort
/// ([`crate::names::Cohort`]) are left out, since the share does not deal them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Distinct users assigned to the rules.
    pub rule: u64,
    /// Distinct users assigned to the model.
    pub model: u64,
    /// Only one in so many users is counted, so that memory stays bounded: a power of two, 1 when all are. Which ones is
    /// decided by a hash of the pseudonym with a seed other than the switch's, so the sample has nothing to do with the
    /// arm. It only grows while the scorer runs.
    pub sampled_one_in: u64,
}

/// Feedback by the arm that gave the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// On the rules' answers.
    pub rule: Clusters,
    /// On the model's answers.
    pub model: Clusters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_what_the_guard_reads() {
        let mut clusters = Clusters::default();
        clusters.add(3, 2);
        clusters.add(1, 1);
        clusters.add(0, 0);
        let evidence = Evidence {
            version: VERSION,
            since_ms: 5,
            users: Users { rule: 9, model: 1, sampled_one_in: 1 },
            feedback: Some(Feedback { rule: clusters, model: Clusters::default() }),
        };
        let text = serde_json::to_string(&evidence).unwrap();
        assert!(text.contains(r#""users":{"rule":9,"model":1,"sampled_one_in":1}"#), "{text}");
        assert!(
            text.contains(
                r#"{"users":2,"given":4,"accepted":3,"given_squared":10,"accepted_squared":5,"given_accepted":7}"#
            ),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    }
}
