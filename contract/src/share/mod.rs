//! The switch: what share of the users gets the model's answer.
//!
//! Envoy holds the live value under [`RUNTIME_KEY`], and its own matcher decides:
//! `xxHash64(bucket header, CANARY_SEED) % denominator < numerator`. [`Share::holds`] repeats that, so that the arm of any
//! user at any share can be told offline, and so that the native module, around which no matcher stands, decides the same. A bare integer in Envoy is a percentage, so the start variable's `1` ("all")
//! must become `100`; [`Share::from_variable`] is the only translation.
//!
//! For one denominator a growing share only ever adds users. Another denominator deals the users anew, so whole
//! percents are always written over 100 and only a share that is not a whole percent takes a finer one.

mod notation;

use std::fmt;

use xxhash_rust::xxh64::xxh64;

use crate::bucket::Bucket;
use crate::names::{Arm, Cohort};

/// Envoy's runtime key of the canary share.
pub const RUNTIME_KEY: &str = "suggest.use_model_canary";
/// Envoy's runtime key of the beta cohort's own share, beside [`RUNTIME_KEY`]: a user of the cohort is in when either holds.
pub const BETA_KEY: &str = "suggest.use_model_beta";
/// Envoy's runtime key of the share of requests that are observed; 100 by default.
pub const OBSERVE_KEY: &str = "perch.observe";
/// The environment variable of the replaced system, now the share at start.
pub const START_VARIABLE: &str = "SUGGEST_USE_MODEL_CANARY";
/// Seed of the arm. Another seed deals all users anew.
pub const CANARY_SEED: u64 = 0;
/// Seed of the observation sample, which hashes the request's id: apart from the arm by value and by seed.
pub const OBSERVE_SEED: u64 = 1;

/// A share's denominator, as Envoy's `FractionalPercent` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// Whole percents.
    Hundred,
    /// Hundredths of a percent.
    TenThousand,
    /// Ten-thousandths of a percent.
    Million,
}

impl Denominator {
    /// Its number.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }

    /// Its name in Envoy's JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hundred => "HUNDRED",
            Self::TenThousand => "TEN_THOUSAND",
            Self::Million => "MILLION",
        }
    }
}

/// A share of the users, `numerator <= denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    numerator: u32,
    denominator: Denominator,
}

/// A share that cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a share: give 0, 1 (all), or percents from 0% to 100% with at most four decimals, e.g. 10% or 0.5%"
)]
pub struct NotAShare(pub String);

impl Share {
    /// Nobody.
    pub const OFF: Self = Self { numerator: 0, denominator: Denominator::Hundred };
    /// Everybody.
    pub const ALL: Self = Self { numerator: 100, denominator: Denominator::Hundred };

    /// `numerator` of `denominator`; more than all is all.
    #[must_use]
    pub const fn new(numerator: u32, denominator: Denominator) -> Self {
        let all = denominator.value();
        Self { numerator: if numerator > all { all } else { numerator }, denominator }
    }

    /// `percent` of the users; above 100 means all.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::new(percent, Denominator::Hundred)
    }

    /// The start variable: `0` or empty is off, `1` is all, `N%` is a percentage, as the replaced system had it.
    ///
    /// # Errors
    /// For anything else; the error names the value.
    pub fn from_variable(text: &str) -> Result<Self, NotAShare> {
        match text.trim() {
            "" | "0" => Ok(Self::OFF),
            "1" => Ok(Self::ALL),
            other => Self::from_percent(other),
        }
    }

    /// `10%`, `0.5%`; the sign is needed, since a bare number means different things to Envoy and to the variable.
    ///
    /// # Errors
    /// When it is no percentage, is outside 0–100, or has more than four decimals.
    pub fn from_percent(text: &str) -> Result<Self, NotAShare> {
        let fault = || NotAShare(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(fault)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
            return Err(fault());
        }
        if number.ends_with('.') {
            return Err(fault());
        }
        let whole: u32 = whole.parse().map_err(|_| fault())?;
        let ten_thousandths: u32 = format!("{decimals:0<4}").parse().map_err(|_| fault())?;
        let millionths = whole * 10_000 + ten_thousandths;
        if millionths > 1_000_000 {
            return Err(fault());
        }
        Ok(if millionths.is_multiple_of(10_000) {
            Self { numerator: millionths / 10_000, denominator: Denominator::Hundred }
        } else if millionths.is_multiple_of(100) {
            Self { numerator: millionths / 100, denominator: Denominator::TenThousand }
        } else {
            Self { numerator: millionths, denominator: Denominator::Million }
        })
    }

    /// What Envoy makes of a value in its runtime, however it is written there: `10`, `12.5` (which is 12 %),
    /// `010` (8 %), a `FractionalPercent` as YAML or JSON. `None` for what it does not take as a share; its default holds
    /// then, which is off.
    #[must_use]
    pub fn from_runtime(text: &str) -> Option<Self> {
        notation::read(text)
    }

    /// The value to write under [`RUNTIME_KEY`].
    #[must_use]
    pub fn to_runtime(self) -> String {
        match self.denominator {
            Denominator::Hundred => self.numerator.to_string(),
            finer => format!(r#"{{"numerator":{},"denominator":"{}"}}"#, self.numerator, finer.name()),
        }
    }

    /// Its numerator.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Its denominator.
    #[must_use]
    pub const fn denominator(self) -> Denominator {
        self.denominator
    }

    /// 0.0..=1.0.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator.value())
    }

    /// Is the user in? The same arithmetic as Envoy's `runtime_fraction` matcher.
    #[must_use]
    pub fn holds(self, bucket: Bucket) -> bool {
        position(bucket, self.denominator) < u64::from(self.numerator)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole numbers: 13.4951 times 100 is 13.495099999999999 to a float.
        let millionths = self.numerator * (Denominator::Million.value() / self.denominator.value());
        let (whole, part) = (millionths / 10_000, format!("{:04}", millionths % 10_000));
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole} %"),
            decimals => write!(f, "{whole}.{decimals} %"),
        }
    }
}

/// Who answers a user of `cohort`, where `share` and `beta` are what [`RUNTIME_KEY`] and [`BETA_KEY`] hold. The same as what
/// Envoy's matcher around the WebAssembly module's model plugin says.
#[must_use]
pub fn arm(bucket: Bucket, cohort: Cohort, share: Share, beta: Share) -> Arm {
    let inside = match cohort {
        Cohort::Ordinary => share.holds(bucket),
        Cohort::Beta => share.holds(bucket) || beta.holds(bucket),
        Cohort::OptOut => false,
    };
    if inside { Arm::Candidate } else { Arm::Baseline }
}

/// Does a sample of `share` of the requests have the one with that `x-request-id`? The same arithmetic as Envoy's
/// `runtime_fraction` matcher, with [`OBSERVE_SEED`].
#[must_use]
pub fn sampled(request_id: &[u8], share: Share) -> bool {
    xxh64(request_id, OBSERVE_SEED) % u64::from(share.denominator.value()) < u64::from(share.numerator)
}

/// What Envoy's admin interface says under `/runtime`, read; `None` where it is no JSON.
#[must_use]
pub fn listing(runtime: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(runtime).ok()
}

/// What holds for `key` over all layers, by `runtime`, which is what Envoy's admin interface says under `/runtime`. `None`
/// where no layer has it.
#[must_use]
pub fn held<'a>(runtime: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    runtime.get("entries")?.get(key)?.get("final_value")?.as_str()
}

/// Where the user stands, `0..denominator`: the user is in as soon as the numerator exceeds it.
#[must_use]
pub fn position(bucket: Bucket, denominator: Denominator) -> u64 {
    xxh64(&bucket.digits(), CANARY_SEED) % u64::from(denominator.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Salt;
    use proptest::prelude::*;

    #[test]
    fn the_variable_keeps_its_meanings_and_one_is_all() {
        let of = |text| Share::from_variable(text).map(Share::to_runtime);
        assert_eq!(of("0"), Ok("0".into()));
        assert_eq!(of(""), Ok("0".into()));
        assert_eq!(of("1"), Ok("100".into()), "a bare 1 in Envoy would be 1 %");
        assert_eq!(of("10%"), Ok("10".into()));
        assert_eq!(of("50%"), Ok("50".into()));
        assert_eq!(of("100%"), Ok("100".into()));
        assert_eq!(of("0.5%"), Ok(r#"{"numerator":50,"denominator":"TEN_THOUSAND"}"#.into()));
    }

    #[test]
    fn what_is_no_share_is_named() {
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
        assert_eq!(arm(bucket, Cohort::Beta, above, Share::OFF), Arm::Candidate, "a ramp takes the cohort along");
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
    fn what_the_admin_interface_says_of_a_key_is_found() {
        let runtime =
            serde_json::json!({"layers": ["start"], "entries": {"a": {"final_value": "10", "layer_values": ["10"]}}});
        assert_eq!((held(&runtime, "a"), held(&runtime, "b")), (Some("10"), None));
    }

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn a_share_holds_as_many_users_as_chance_would() {
        // Chi-squared over salts: how far the users of each are from the share, in standard deviations. Of names that differ
        // in a digit, as those of real users may, a weak function would take too many under some salts (or too evenly).
        const SALTS: u32 = 200;
        const USERS: u32 = 2_000;
        for percent in [1, 10, 50] {
            let share = Share::percent(percent);
            let deviation = (f64::from(USERS) * share.fraction() * (1.0 - share.fraction())).sqrt();
            let squares: f64 = (0..SALTS)
                .map(|salt| {
                    let salt = Salt::new(format!("a salt of sixteen bytes, {salt}").as_bytes()).unwrap();
                    let of = |user: u32| Bucket::of(format!("user-{user}@example.org").as_bytes(), &salt);
                    let inside = (0..USERS).filter(|user| share.holds(of(*user))).count();
                    ((inside as f64 - f64::from(USERS) * share.fraction()) / deviation).powi(2)
                })
                .sum();
            // 200 on average, with a standard deviation of 20.
            assert!((140.0..260.0).contains(&squares), "{percent} %: {squares}");
        }
    }

    proptest! {
        #[test]
        fn a_ramp_only_ever_adds_users(bucket: u64, low in 0_u32..=100, more in 0_u32..=100) {
            let bucket = Bucket(bucket);
            let high = Share::percent((low + more).min(100));
            prop_assert!(!Share::percent(low).holds(bucket) || high.holds(bucket));
            prop_assert!(!Share::OFF.holds(bucket));
            prop_assert!(Share::ALL.holds(bucket));
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
