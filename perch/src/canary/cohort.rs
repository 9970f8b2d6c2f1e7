//! The cohorts in a gateway's configuration, read back from Envoy, so that they are the ones in force.

use contract::bucket::Bucket;
use contract::names::Cohort;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration;

/// The members of the cohorts in the filter's configuration, without the salt beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CohortConfig {
    /// Users with a share of their own.
    pub beta: Vec<Member>,
    /// Users who are always given the baseline.
    pub opt_out: Vec<Member>,
}

/// A rule by which users are members of a cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// By a header that the user's authentication sets.
    Header {
        /// Its name.
        name: String,
        /// Its values.
        values: Vec<String>,
    },
    /// By a verified claim.
    Jwt {
        /// Where `jwt_authn` leaves it.
        payload: String,
        /// Its name.
        claim: String,
        /// Its values.
        values: Vec<String>,
    },
    /// By pseudonyms.
    Pseudonyms(Vec<String>),
}

impl Member {
    /// One line about the rule.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Header { name, values } => format!("header {name} is {}", values.join(" or ")),
            Self::Jwt { payload, claim, values } => format!("claim {claim} of {payload} is {}", values.join(" or ")),
            Self::Pseudonyms(names) => format!("{} pseudonyms", names.len()),
        }
    }
}

impl CohortConfig {
    /// Reads them from Envoy's `/config_dump`; `None` if it has no filter of Perch.
    ///
    /// # Errors
    /// When the filter's `cohorts` have an unknown shape, so that their members are not known.
    pub fn of_config_dump(dump: &Value) -> Option<Result<Self, serde_json::Error>> {
        let mut document = configuration::of_config_dump(dump)?;
        let cohorts = document.remove("cohorts").filter(|cohorts| !cohorts.is_null());
        Some(cohorts.map_or_else(|| Ok(Self::default()), serde_json::from_value))
    }

    /// The cohort whose list of pseudonyms has the user. A header or a claim can name the user too, but only in a
    /// request.
    #[must_use]
    pub fn lists(&self, bucket: Bucket) -> Option<Cohort> {
        let name = bucket.to_string();
        let listed = |members: &[Member]| {
            members.iter().any(|member| matches!(member, Member::Pseudonyms(names) if names.contains(&name)))
        };
        if listed(&self.opt_out) { Some(Cohort::OptOut) } else { listed(&self.beta).then_some(Cohort::Beta) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cohorts_are_found_and_the_salt_is_not_read() {
        let cohorts = json!({"beta": [{"header": {"name": "x-group", "values": ["staff"]}}, {"pseudonyms": ["00000000000000ab"]}]});
        let dump = |cohorts: &Value| json!({"configs": [{"salt": "a secret, is it not", "cohorts": cohorts}]});
        let found = CohortConfig::of_config_dump(&dump(&cohorts)).unwrap().unwrap();
        assert_eq!(found.beta[0].describe(), "header x-group is staff");
        assert_eq!(found.lists(Bucket(0xab)), Some(Cohort::Beta));
        assert_eq!(found.lists(Bucket(0xac)), None);
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(CohortConfig::of_config_dump(&dump(&Value::Null)).unwrap().unwrap(), CohortConfig::default());
        assert!(CohortConfig::of_config_dump(&json!({"configs": []})).is_none());
        let strange = json!({"opt_out": [{"stars": ["aries"]}]});
        assert!(CohortConfig::of_config_dump(&dump(&strange)).unwrap().is_err(), "or an opt-out would be missed");
    }

    #[test]
    fn a_user_on_both_lists_has_opted_out() {
        let names = vec![Member::Pseudonyms(vec!["00000000000000ab".into()])];
        let both = CohortConfig { beta: names.clone(), opt_out: names };
        assert_eq!(both.lists(Bucket(0xab)), Some(Cohort::OptOut));
    }
}
