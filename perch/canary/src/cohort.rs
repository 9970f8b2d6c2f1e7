//! The cohorts of a gateway, as its filter is configured: read back from Envoy, so that `perch` shows those in effect.

use contract::bucket::Bucket;
use contract::cohorts::{Cohorts, Member};
use contract::names::Cohort;
use serde_json::Value;

use super::configuration;

/// The cohorts in a response of Envoy to `/config_dump`; `None` if it contains no Perch filter.
///
/// # Errors
/// When `cohorts` in the filter's configuration has an unknown shape, so that their members are not known.
pub fn of_config_dump(dump: &Value) -> Option<Result<Cohorts, serde_json::Error>> {
    let mut document = configuration::of_config_dump(dump)?;
    let cohorts = document.remove("cohorts").filter(|cohorts| !cohorts.is_null());
    Some(cohorts.map_or_else(|| Ok(Cohorts::default()), serde_json::from_value))
}

/// The cohort that lists the user by pseudonym. A header or a claim can name the user too, but only in a request.
#[must_use]
pub fn cohort_of_pseudonym(cohorts: &Cohorts, bucket: Bucket) -> Option<Cohort> {
    let name = bucket.to_string();
    let lists = |members: &[Member]| {
        members.iter().any(|member| matches!(member, Member::Pseudonyms(names) if names.contains(&name)))
    };
    if lists(&cohorts.opt_out) { Some(Cohort::OptOut) } else { lists(&cohorts.beta).then_some(Cohort::Beta) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cohorts_are_found_and_the_salt_is_not_read() {
        let cohorts = json!({"beta": [{"header": {"name": "x-group", "values": ["staff"]}}, {"pseudonyms": ["00000000000000ab"]}]});
        let dump = |cohorts: &Value| json!({"configs": [{"salt": "a secret, is it not", "cohorts": cohorts}]});
        let found = of_config_dump(&dump(&cohorts)).unwrap().unwrap();
        assert_eq!(found.beta[0].to_string(), "header x-group is staff");
        assert_eq!(cohort_of_pseudonym(&found, Bucket(0xab)), Some(Cohort::Beta));
        assert_eq!(cohort_of_pseudonym(&found, Bucket(0xac)), None);
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(of_config_dump(&dump(&Value::Null)).unwrap().unwrap(), Cohorts::default());
        assert!(of_config_dump(&json!({"configs": []})).is_none());
        let strange = json!({"opt_out": [{"stars": ["aries"]}]});
        assert!(of_config_dump(&dump(&strange)).unwrap().is_err(), "or an opt-out would be missed");
    }

    #[test]
    fn a_user_on_both_lists_has_opted_out() {
        let names = vec![Member::Pseudonyms(vec!["00000000000000ab".into()])];
        let both = Cohorts { beta: names.clone(), opt_out: names };
        assert_eq!(cohort_of_pseudonym(&both, Bucket(0xab)), Some(Cohort::OptOut));
    }
}
