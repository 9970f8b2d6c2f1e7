//! The rules of `cohorts`.

use contract::bucket::Bucket;
use contract::cohorts::{Cohorts as RawCohorts, Member};
use contract::headers;

use super::error::{ConfigError, fault};
use super::tokens::{claim_property, is_token};
use crate::decision::cohort::{Cohorts, Members};

/// Most entries of a cohort, and most values of an entry: each is compared on every request.
const MAX_MEMBERS: usize = 16;
const MAX_VALUES: usize = 64;
/// Most pseudonyms of a cohort: eight bytes each in every worker.
const MAX_PSEUDONYMS: usize = 10_000;

pub(super) fn check(raw: RawCohorts) -> Result<Cohorts, ConfigError> {
    Ok(Cohorts { beta: members("beta", raw.beta)?, opt_out: members("opt_out", raw.opt_out)? })
}

fn members(cohort: &str, raw: Vec<Member>) -> Result<Members, ConfigError> {
    if raw.len() > MAX_MEMBERS {
        let rule = format!("may have at most {MAX_MEMBERS} entries and has {}", raw.len());
        return fault(format!("cohorts.{cohort}"), rule, "name a group of users by one header or claim");
    }
    let mut members = Members::default();
    for (at, member) in raw.into_iter().enumerate() {
        let field = |name: &str| format!("cohorts.{cohort}[{at}].{name}");
        match member {
            Member::Header { name, values } => {
                let name = name.to_ascii_lowercase();
                if !is_token(&name) || name.starts_with(headers::PREFIX) {
                    let rule = format!("is {name:?}, which is not a header that an authentication can set");
                    return fault(
                        field("header"),
                        rule,
                        "give the name of a header that yours sets, e.g. \"x-user-group\"",
                    );
                }
                members.headers.push((name, values_of(&field("values"), values)?));
            }
            Member::Jwt { payload, claim, values } => {
                let Some(property) = claim_property(&payload, &claim) else {
                    return fault(
                        field("jwt"),
                        "must name payload and claim",
                        r#"e.g. {"payload": "jwt_payload", "claim": "group", "values": ["staff"]}"#,
                    );
                };
                members.claims.push((property, values_of(&field("values"), values)?));
            }
            Member::Pseudonyms(names) => {
                for (place, name) in names.iter().enumerate() {
                    let Ok(bucket) = name.parse::<Bucket>() else {
                        // Not repeated: it may be a user's name, which must not reach the log.
                        return fault(
                            field(&format!("pseudonyms[{place}]")),
                            "is not a pseudonym of 16 lowercase hex digits",
                            "take it from `perch canary explain USER`",
                        );
                    };
                    members.pseudonyms.push(bucket);
                }
            }
        }
    }
    if members.pseudonyms.len() > MAX_PSEUDONYMS {
        let rule = format!("names {} pseudonyms, at most {MAX_PSEUDONYMS} fit", members.pseudonyms.len());
        return fault(format!("cohorts.{cohort}"), rule, "let your authentication set a header for them");
    }
    members.pseudonyms.sort_unstable();
    Ok(members)
}

fn values_of(field: &str, values: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if values.is_empty() || values.len() > MAX_VALUES || values.iter().any(String::is_empty) {
        return fault(field, format!("must be 1 to {MAX_VALUES} texts that are not empty"), "e.g. [\"staff\"]");
    }
    Ok(values)
}
