//! The cohorts of the filter's configuration: groups of users whose arm does not follow from the canary share alone.
//!
//! The filter decides by them, and `perch` reads them back from Envoy to show them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Members of each cohort. A user in both has opted out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cohorts {
    /// Users with a share of their own, e.g. colleagues.
    pub beta: Vec<Member>,
    /// Users who are never given the candidate.
    pub opt_out: Vec<Member>,
}

/// One way to name users: `{"header": {"name": "x-user-group", "values": ["staff"]}}` and the like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Member {
    /// Requests whose header has one of these values. The user's authentication must set it, or remove what clients
    /// send.
    Header {
        /// The header's name.
        name: String,
        /// Its values.
        values: Vec<String>,
    },
    /// Requests with a claim that Envoy's `jwt_authn` verified and that has one of these values.
    Jwt {
        /// The provider's `payload_in_metadata`.
        payload: String,
        /// The claim's name.
        claim: String,
        /// Its values, as text: `staff`, `7`, `true`.
        values: Vec<String>,
    },
    /// These users, by pseudonym (`perch canary explain` prints it).
    Pseudonyms(Vec<String>),
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, values } => write!(f, "header {name} is {}", values.join(" or ")),
            Self::Jwt { payload, claim, values } => {
                write!(f, "claim {claim} of {payload} is {}", values.join(" or "))
            }
            Self::Pseudonyms(names) => write!(f, "{} pseudonyms", names.len()),
        }
    }
}
