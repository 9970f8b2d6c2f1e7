//! The scorer's evidence for the guard: counts whose unit is the user, since a moment that the guard chooses (the start of
//! a step).
//!
//! A user's requests are not independent of each other, and since arms are sticky, a user's habits are a lasting difference
//! between two arms that no amount of further requests averages out. So a comparison of two arms counts users, and it
//! counts them from the last change of the share: before it, some of them were in the other arm.
//!
//! `GET {PATH}?{SINCE}=MS` returns [`Evidence`] as JSON. In its fields `rule` is the baseline and `model` the candidate.

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
    /// Start of the counts below, in milliseconds since 1970: the requested moment, or the scorer's start if that is
    /// later.
    pub since_ms: u64,
    /// Distinct users, by arm.
    pub users: Users,
    /// Feedback on responses given since then, by the arm that gave them. `None` when the store does not reply.
    pub feedback: Option<Feedback>,
}

/// Number of distinct users in each arm. A canary user who was given the baseline (fallback) is in arm `model`: the arm by
/// the share counts. A user who was in both arms counts in both. Users of a cohort ([`crate::names::Cohort`]) are left out,
/// since the share alone does not decide their arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Distinct users assigned to the baseline.
    pub rule: u64,
    /// Distinct users assigned to the candidate.
    pub model: u64,
    /// One in so many users is counted, so that memory stays bounded: a power of two, 1 when all are. A hash of the
    /// pseudonym with a seed of its own decides who is counted, so the sample is independent of the arm. The number only
    /// grows while the scorer runs.
    pub sampled_one_in: u64,
}

/// Feedback by the arm that gave the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// On baseline responses.
    pub rule: Clusters,
    /// On candidate responses.
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
