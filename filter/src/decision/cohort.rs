//! Decides which cohort a user is in, at no cost where no cohort is configured.
//!
//! Opting out takes precedence: a user in both cohorts is never given the candidate. A header is only as
//! trustworthy as the authentication that sets it; a client that can send the header chooses its own cohort.

use contract::bucket::Bucket;
use contract::names::Cohort;

use super::identity;
use crate::pairs::Pairs;

/// The ways to be in a cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Headers by their lower case names, with the values that members have.
    pub headers: Vec<(String, Vec<String>)>,
    /// Claims by their properties' paths, with the values that members have.
    pub claims: Vec<(Vec<u8>, Vec<String>)>,
    /// Pseudonyms of members, sorted.
    pub pseudonyms: Vec<Bucket>,
}

/// The members of both cohorts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cohorts {
    /// Users with a share of their own.
    pub beta: Members,
    /// Users who are never given the candidate.
    pub opt_out: Members,
}

/// The cohorts that a request's headers and claims match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CohortMatch {
    beta: bool,
    opt_out: bool,
}

impl Cohorts {
    /// Compares the headers and claims of a request. `property` appends a host property to its buffer and returns
    /// `true` if there is one.
    pub fn matches(&self, headers: Pairs<'_>, mut property: impl FnMut(&[u8], &mut Vec<u8>) -> bool) -> CohortMatch {
        CohortMatch {
            beta: self.beta.matches(headers, &mut property),
            opt_out: self.opt_out.matches(headers, &mut property),
        }
    }

    /// The cohort of the user whose request gave `matched`.
    #[must_use]
    pub fn of(&self, bucket: Bucket, matched: CohortMatch) -> Cohort {
        if matched.opt_out || self.opt_out.lists(bucket) {
            Cohort::OptOut
        } else if matched.beta || self.beta.lists(bucket) {
            Cohort::Beta
        } else {
            Cohort::Ordinary
        }
    }
}

impl Members {
    fn lists(&self, bucket: Bucket) -> bool {
        self.pseudonyms.binary_search(&bucket).is_ok()
    }

    fn matches(&self, headers: Pairs<'_>, property: &mut impl FnMut(&[u8], &mut Vec<u8>) -> bool) -> bool {
        let among = |values: &[String], value: &[u8]| {
            let value = value.trim_ascii();
            values.iter().any(|wanted| wanted.as_bytes() == value)
        };
        // One pass over the headers for all names.
        if !self.headers.is_empty() {
            for (name, value) in headers.iter() {
                let of_name = self.headers.iter().filter(|(wanted, _)| wanted.as_bytes() == name);
                if of_name.into_iter().any(|(_, values)| among(values, value)) {
                    return true;
                }
            }
        }
        self.claims.iter().any(|(path, values)| {
            let mut value = Vec::new();
            property(path, &mut value)
                && match value.as_slice() {
                    // A boolean in the host's form.
                    [1] => among(values, b"true"),
                    [0] => among(values, b"false"),
                    _ => identity::claim(&mut value).is_some_and(|value| among(values, value)),
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::write;
    use proptest::prelude::*;

    fn members(value: &str, pseudonym: u64) -> Members {
        Members {
            headers: vec![("x-user-group".into(), vec![value.to_owned()])],
            claims: vec![(b"group".to_vec(), vec![value.to_owned(), "7".into(), "true".into()])],
            pseudonyms: vec![Bucket(pseudonym)],
        }
    }

    fn cohorts() -> Cohorts {
        Cohorts { beta: members("staff", 1), opt_out: members("never", 2) }
    }

    fn of(headers: &[(&str, &str)], claim: Option<&[u8]>, bucket: u64) -> Cohort {
        let mut bytes = Vec::new();
        write(&mut bytes, &headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect::<Vec<_>>());
        let cohorts = cohorts();
        let matched = cohorts.matches(Pairs::new(&bytes), |_, out| {
            out.extend_from_slice(claim.unwrap_or_default());
            claim.is_some()
        });
        cohorts.of(Bucket(bucket), matched)
    }

    #[test]
    fn a_header_a_claim_or_a_pseudonym_names_a_user() {
        assert_eq!(of(&[("x-user-group", " staff ")], None, 9), Cohort::Beta);
        assert_eq!(of(&[("x-user-group", "x"), ("x-user-group", "staff")], None, 9), Cohort::Beta);
        assert_eq!(of(&[], Some(b"staff"), 9), Cohort::Beta);
        assert_eq!(of(&[], None, 1), Cohort::Beta);
        for (headers, claim) in
            [(vec![("x-user-group", "staffs"), ("x-other", "staff")], None), (vec![], Some(&b"x"[..]))]
        {
            assert_eq!(of(&headers, claim, 9), Cohort::Ordinary);
        }
    }

    #[test]
    fn opting_out_takes_precedence() {
        assert_eq!(of(&[("x-user-group", "staff")], None, 2), Cohort::OptOut);
        assert_eq!(of(&[("x-user-group", "never")], Some(b"staff"), 1), Cohort::OptOut);
    }

    #[test]
    fn claims_that_are_not_text_are_compared_as_text() {
        assert_eq!(of(&[], Some(&7.0_f64.to_le_bytes()), 9), Cohort::OptOut);
        assert_eq!(of(&[], Some(b"\x01"), 9), Cohort::OptOut, "as Envoy writes true");
        assert_eq!(of(&[], Some(b"\0"), 9), Cohort::Ordinary);
    }

    proptest! {
        #[test]
        fn without_members_every_user_is_ordinary(bucket: u64, claim in proptest::collection::vec(any::<u8>(), 0..20)) {
            let none = Cohorts::default();
            let matched = none.matches(Pairs::new(&claim), |_, _| panic!("no property is read"));
            prop_assert_eq!(none.of(Bucket(bucket), matched), Cohort::Ordinary);
        }

        #[test]
        fn garbage_never_panics(claim in proptest::collection::vec(any::<u8>(), 0..40), bucket: u64) {
            let _ = of(&[], Some(&claim), bucket);
        }
    }
}
