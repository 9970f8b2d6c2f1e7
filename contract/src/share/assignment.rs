//! Decides a user's arm from bucket, cohort and share, and whether a request is in the observation sample. As in
//! Envoy's `runtime_fraction` matcher, a hash modulo the share's denominator is compared with its numerator.

use xxhash_rust::xxh64::xxh64;

use super::value::{Denominator, Share};
use crate::bucket::Bucket;
use crate::names::{Arm, Cohort};

/// Seed of the arm. Another seed re-buckets all users.
pub const CANARY_SEED: u64 = 0;
/// Seed of the observation sample, which is independent of the arm: it hashes another value, the request's id, with
/// another seed.
pub const OBSERVE_SEED: u64 = 1;

impl Share {
    /// Returns `true` if the user is in the canary at this share.
    #[must_use]
    pub fn includes(self, bucket: Bucket) -> bool {
        position(bucket, self.denominator()) < u64::from(self.numerator())
    }
}

/// The user's position, `0..denominator`: the user is in the canary as soon as the numerator exceeds it.
#[must_use]
pub fn position(bucket: Bucket, denominator: Denominator) -> u64 {
    xxh64(&bucket.digits(), CANARY_SEED) % u64::from(denominator.value())
}

/// The arm of a user of `cohort`, where `share` and `beta` are the values of [`super::RUNTIME_KEY`] and
/// [`super::BETA_KEY`]. Every program that needs to know an arm calls this function.
#[must_use]
pub fn arm(bucket: Bucket, cohort: Cohort, share: Share, beta: Share) -> Arm {
    let in_canary = match cohort {
        Cohort::Ordinary => share.includes(bucket),
        Cohort::Beta => share.includes(bucket) || beta.includes(bucket),
        Cohort::OptOut => false,
    };
    if in_canary { Arm::Candidate } else { Arm::Baseline }
}

/// Returns `true` if a sample of `share` of the requests contains the one with that `x-request-id`.
#[must_use]
pub fn sampled(request_id: &[u8], share: Share) -> bool {
    xxh64(request_id, OBSERVE_SEED) % u64::from(share.denominator().value()) < u64::from(share.numerator())
}
