//! Cohorts as a gateway is configured with them: read back from Envoy, so that what is told is what holds.

use contract::bucket::Bucket;
use contract::names::Cohort;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration;

/// Who is in which cohort, as the filter's configuration says. The salt, which stands beside it, is not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configured {
    /// Users with a share of their own.
    pub beta: Vec<Member>,
    /// Users who never get the model's answer.
    pub opt_out: Vec<Member>,
}

/// One way to name users.
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
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Header { name, values } => format!("header {name} is {}", values.join(" or ")),
            Self::Jwt { payload, claim, values } => format!("claim {claim} of {payload} is {}", values.join(" or ")),
            Self::Pseudonyms(names) => format!("{} pseudonyms", names.len()),
        }
    }
}

impl Configured {
    /// From what Envoy's `/config_dump` says; `None` where no filter of ours is in it.
    ///
    /// # Errors
    /// When the filter's `cohorts` have a shape that is not known here: nobody could say then who is in one.
    pub fn of_config_dump(dump: &Value) -> Option<Result<Self, serde_json::Error>> {
        let mut document = configuration::of_config_dump(dump)?;
        let cohorts = document.remove("cohorts").filter(|cohorts| !cohorts.is_null());
        Some(cohorts.map_or_else(|| Ok(Self::default()), serde_json::from_value))
    }

    /// The cohort in whose list the user stands. A header or a claim may name the user too, which only a request shows.
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
    fn cohorts_are_found_and_the_salt_is_left() {
        let cohorts = json!({"beta": [{"header": {"name": "x-group", "values": ["staff"]}}, {"pseudonyms": ["00000000000000ab"]}]});
        let dump = |cohorts: &Value| json!({"configs": [{"salt": "a secret, is it not", "cohorts": cohorts}]});
        let found = Configured::of_config_dump(&dump(&cohorts)).unwrap().unwrap();
        assert_eq!(found.beta[0].words(), "header x-group is staff");
        assert_eq!(found.lists(Bucket(0xab)), Some(Cohort::Beta));
        assert_eq!(found.lists(Bucket(0xac)), None);
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(Configured::of_config_dump(&dump(&Value::Null)).unwrap().unwrap(), Configured::default());
        assert!(Configured::of_config_dump(&json!({"configs": []})).is_none());
        let strange = json!({"opt_out": [{"stars": ["aries"]}]});
        assert!(Configured::of_config_dump(&dump(&strange)).unwrap().is_err(), "or an opt-out would go unseen");
    }

    #[test]
    fn who_is_listed_twice_has_opted_out() {
        let names = vec![Member::Pseudonyms(vec!["00000000000000ab".into()])];
        let both = Configured { beta: names.clone(), opt_out: names };
        assert_eq!(both.lists(Bucket(0xab)), Some(Cohort::OptOut));
    }
}
