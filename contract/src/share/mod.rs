//! The canary share: the percentage of users who are given the candidate.
//!
//! Envoy's runtime holds the value under [`RUNTIME_KEY`]. A user is in the canary when `xxHash64(bucket, CANARY_SEED) %
//! denominator < numerator` ([`Share::includes`]); the filter, `perch canary explain` and the tests all decide by [`arm`],
//! so that the arm of any user at any share can be computed offline.
//!
//! ```
//! use contract::bucket::{Bucket, Salt};
//! use contract::names::{Arm, Cohort};
//! use contract::share::{self, Share};
//!
//! let salt = Salt::new(b"0123456789abcdef").unwrap();
//! let user = Bucket::of(b"user-42", &salt);
//! let position = u32::try_from(share::position(user, Share::ALL.denominator())).unwrap();
//! // The user joins as soon as the share exceeds the position, and stays in at every larger share.
//! assert_eq!(share::arm(user, Cohort::Ordinary, Share::percent(position), Share::OFF), Arm::Baseline);
//! assert_eq!(share::arm(user, Cohort::Ordinary, Share::percent(position + 1), Share::OFF), Arm::Candidate);
//! assert_eq!(share::arm(user, Cohort::OptOut, Share::ALL, Share::OFF), Arm::Baseline);
//! // How the operator writes a share, how Envoy's runtime holds it, and how it is shown.
//! let share = Share::from_percent("12.5%").unwrap();
//! assert_eq!(share.to_runtime(), r#"{"numerator":1250,"denominator":"TEN_THOUSAND"}"#);
//! assert_eq!(Share::from_runtime(&share.to_runtime()), Some(share));
//! assert_eq!(share.to_string(), "12.5%");
//! ```
//!
//! For one denominator a growing share only ever adds users. Another denominator re-buckets them, so whole percentages
//! are always written over 100, and only a share that is not a whole percentage takes a finer denominator.
//!
//! | module | what it holds |
//! |---|---|
//! | `value` | the share itself, and how people write it |
//! | `runtime` | how Envoy's runtime writes it, and the admin interface's `/runtime` |
//! | `assignment` | the arm of a user at a share, and which requests are observed |

mod assignment;
mod runtime;
mod value;

pub use self::assignment::{CANARY_SEED, OBSERVE_SEED, arm, position, sampled};
pub use self::runtime::{parse_runtime, runtime_value};
pub use self::value::{Denominator, NotAShare, START_VARIABLE, Share};

/// Envoy's runtime key of the canary share.
pub const RUNTIME_KEY: &str = "suggest.use_model_canary";
/// Beginning of the names of the directories that Perch makes for a runtime's disk layer; a number follows. Directories
/// with other names are not Perch's, and are never removed.
pub const RUNTIME_LAYER: &str = "perch-layer-";
/// Envoy's runtime key of the beta cohort's own share: a user of the cohort is in the canary when either share includes them.
pub const BETA_KEY: &str = "suggest.use_model_beta";
/// Envoy's runtime key of the share of requests that are observed; 100 by default.
pub const OBSERVE_KEY: &str = "perch.observe";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{Bucket, Salt};
    use crate::names::{Arm, Cohort};
    use proptest::prelude::*;

    #[test]
    fn the_variable_keeps_its_meanings_and_one_is_all() {
        let of = |text| Share::from_variable(text).map(Share::to_runtime);
        assert_eq!(of("0"), Ok("0".into()));
        assert_eq!(of(""), Ok("0".into()));
        assert_eq!(of("1"), Ok("100".into()), "a bare 1 in Envoy would be 1%");
        assert_eq!(of("10%"), Ok("10".into()));
        assert_eq!(of("50%"), Ok("50".into()));
        assert_eq!(of("100%"), Ok("100".into()));
        assert_eq!(of("0.5%"), Ok(r#"{"numerator":50,"denominator":"TEN_THOUSAND"}"#.into()));
    }

    #[test]
    fn a_text_that_is_not_a_share_is_named() {
        for bad in ["10", "101%", "-1%", "1e1%", "%", "ten", "0.00001%", "1.%", "true"] {
            let error = Share::from_variable(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn frozen_positions() {
        let seen: Vec<u64> =
            [0_u64, 1, 42, u64::MAX].iter().map(|b| position(Bucket(*b), Denominator::Hundred)).collect();
        assert_eq!(seen, FROZEN);
    }

    // Computed by another implementation, Python's xxhash: xxh64("%016x" % bucket, seed=0) % 100.
    const FROZEN: [u64; 4] = [46, 59, 71, 19];

    #[test]
    fn a_cohort_adds_to_the_share_or_keeps_a_user_from_it() {
        let bucket = Bucket(0);
        // Position 46, see FROZEN.
        let (below, above) = (Share::percent(46), Share::percent(47));
        assert_eq!(arm(bucket, Cohort::Ordinary, below, Share::ALL), Arm::Baseline);
        assert_eq!(arm(bucket, Cohort::Ordinary, above, Share::OFF), Arm::Candidate);
        assert_eq!(arm(bucket, Cohort::Beta, Share::OFF, below), Arm::Baseline);
        assert_eq!(arm(bucket, Cohort::Beta, Share::OFF, above), Arm::Candidate);
        assert_eq!(arm(bucket, Cohort::Beta, above, Share::OFF), Arm::Candidate, "a rollout includes the cohort");
        assert_eq!(arm(bucket, Cohort::OptOut, Share::ALL, Share::ALL), Arm::Baseline);
    }

    #[test]
    fn a_sample_is_drawn_by_the_requests_id_and_apart_from_the_arm() {
        // Computed by another implementation, Python's xxhash: xxh64(id, seed=1) % 100.
        let positions = [("a", 46), ("3b1d0c4e-8f0a-4d26-9d4b-0c7b5f8f9a11", 73)];
        for (id, position) in positions {
            assert!(!sampled(id.as_bytes(), Share::percent(position)), "{id}");
            assert!(sampled(id.as_bytes(), Share::percent(position + 1)), "{id}");
        }
        assert!(sampled(b"", Share::ALL) && !sampled(b"", Share::OFF));
    }

    #[test]
    fn the_admin_interfaces_value_of_a_key_is_found() {
        let runtime =
            serde_json::json!({"layers": ["start"], "entries": {"a": {"final_value": "10", "layer_values": ["10"]}}});
        assert_eq!((runtime_value(&runtime, "a"), runtime_value(&runtime, "b")), (Some("10"), None));
    }

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn a_share_holds_as_many_users_as_chance_predicts() {
        // Chi-squared over salts: how far the users of each are from the share, in standard deviations. With names that
        // differ in a digit, as those of real users may, a weak function would take too many under some salts (or too
        // evenly).
        const SALTS: u32 = 200;
        const USERS: u32 = 2_000;
        for percent in [1, 10, 50] {
            let share = Share::percent(percent);
            let deviation = (f64::from(USERS) * share.fraction() * (1.0 - share.fraction())).sqrt();
            let squares: f64 = (0..SALTS)
                .map(|salt| {
                    let salt = Salt::new(format!("a salt of sixteen bytes, {salt}").as_bytes()).unwrap();
                    let of = |user: u32| Bucket::of(format!("user-{user}@example.org").as_bytes(), &salt);
                    let inside = (0..USERS).filter(|user| share.includes(of(*user))).count();
                    ((inside as f64 - f64::from(USERS) * share.fraction()) / deviation).powi(2)
                })
                .sum();
            // 200 on average, with a standard deviation of 20.
            assert!((140.0..260.0).contains(&squares), "{percent}%: {squares}");
        }
    }

    proptest! {
        #[test]
        fn a_growing_share_only_adds_users(bucket: u64, low in 0_u32..=100, more in 0_u32..=100) {
            let bucket = Bucket(bucket);
            let high = Share::percent((low + more).min(100));
            prop_assert!(!Share::percent(low).includes(bucket) || high.includes(bucket));
            prop_assert!(!Share::OFF.includes(bucket));
            prop_assert!(Share::ALL.includes(bucket));
        }

        #[test]
        fn text_for_people_comes_back(millionths in 0_u32..=1_000_000) {
            let share = Share::new(millionths, Denominator::Million);
            let read = Share::from_percent(&share.to_string()).unwrap();
            prop_assert_eq!(read.fraction(), share.fraction(), "{}", share);
        }

        #[test]
        fn runtime_text_comes_back(millionths in 0_u32..=1_000_000) {
            let text = format!("{}.{:04}%", millionths / 10_000, millionths % 10_000);
            let share = Share::from_percent(&text).unwrap();
            prop_assert_eq!(Share::from_runtime(&share.to_runtime()), Some(share));
            prop_assert!((share.fraction() - f64::from(millionths) / 1e6).abs() < 1e-12);
        }
    }
}
