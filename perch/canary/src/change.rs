//! The effect of a change of the share on users, computed before the change is made.

use contract::bucket::Bucket;
use contract::share::{Denominator, Share};

/// Pseudonyms sampled to compare two denominators. Buckets are uniform, so 100,000 give each fraction to within 0.5
/// percentage points.
const SAMPLE: u64 = 100_000;

/// Users who change arms, as fractions of all users, 0.0..=1.0.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Change {
    /// Users who join the candidate arm.
    pub joins: f64,
    /// Users who leave it.
    pub leaves: f64,
    /// The denominators differ, so users are re-bucketed: some may leave although the share grows.
    pub rebuckets: bool,
}

impl Change {
    /// The change from one share to another.
    #[must_use]
    pub fn between(from: Share, to: Share) -> Self {
        if from.denominator() == to.denominator() || trivial(from) || trivial(to) {
            let difference = to.fraction() - from.fraction();
            return Self { joins: difference.max(0.0), leaves: (-difference).max(0.0), rebuckets: false };
        }
        let (mut joins, mut leaves) = (0_u32, 0_u32);
        for index in 0..SAMPLE {
            // Any fixed spread of values does: a bucket is a hash.
            let bucket = Bucket(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            match (from.includes(bucket), to.includes(bucket)) {
                (false, true) => joins += 1,
                (true, false) => leaves += 1,
                _ => {}
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "100,000 fits")]
        let of_all = |count: u32| f64::from(count) / SAMPLE as f64;
        Self { joins: of_all(joins), leaves: of_all(leaves), rebuckets: true }
    }
}

/// Returns `true` for no users and all users, which are the same with every denominator.
fn trivial(share: Share) -> bool {
    share.numerator() == 0 || share.numerator() == share.denominator().value()
}

/// The smallest whole percentage at which the user is in the candidate arm, 1..=100.
#[must_use]
pub fn joins_at(bucket: Bucket) -> u64 {
    contract::share::position(bucket, Denominator::Hundred) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(text: &str) -> Share {
        Share::from_percent(text).unwrap()
    }

    #[test]
    fn a_ramp_over_whole_percents_only_adds() {
        let change = Change::between(share("10%"), share("50%"));
        assert!((change.joins - 0.4).abs() < 1e-12, "{change:?}");
        assert!(change.leaves == 0.0 && !change.rebuckets, "{change:?}");
    }

    #[test]
    fn another_denominator_rebuckets_users() {
        let change = Change::between(share("10%"), share("10.5%"));
        assert!(change.rebuckets, "{change:?}");
        // Independent buckets: 10% of all leave with probability 0.895, 10.5% join with probability 0.9.
        assert!((change.leaves - 0.0895).abs() < 0.01 && (change.joins - 0.0945).abs() < 0.01, "{change:?}");
    }

    #[test]
    fn from_or_to_no_users_nobody_is_rebucketed() {
        let change = Change::between(Share::OFF, share("0.5%"));
        assert!(!change.rebuckets && (change.joins - 0.005).abs() < 1e-12, "{change:?}");
    }

    proptest! {
        #[test]
        fn a_user_is_in_the_canary_from_its_share_on(bucket: u64) {
            let at = u32::try_from(joins_at(Bucket(bucket))).unwrap();
            prop_assert!((1..=100).contains(&at));
            prop_assert!(Share::percent(at).includes(Bucket(bucket)));
            prop_assert!(!Share::percent(at - 1).includes(Bucket(bucket)));
        }
    }
}
