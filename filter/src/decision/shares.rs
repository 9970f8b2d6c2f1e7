//! A worker's copy of the shares in Envoy's runtime.
//!
//! The runtime belongs to Envoy's main thread, so a worker decides by a copy. The copy is renewed once a second while
//! there is traffic or a share is above 0, then on an idle gateway too. A copy that is older than two seconds counts as
//! share 0: whatever prevents its renewal, no candidate response is given later than that after a rollback.

use contract::bucket::Bucket;
use contract::names::{Arm, Cohort};
use contract::share::{self, BETA_KEY, OBSERVE_KEY, RUNTIME_KEY, Share};

/// Age at which a copy is renewed, in ns.
pub const RENEW_NS: u64 = 900_000_000;
/// Age above which a copy counts as share 0, in ns.
pub const STALE_NS: u64 = 2_000_000_000;

/// The shares in the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of all users, under [`RUNTIME_KEY`].
    pub canary: Share,
    /// Of the beta cohort, under [`BETA_KEY`].
    pub beta: Share,
    /// Of the requests that are observed, under [`OBSERVE_KEY`].
    pub observe: Share,
}

impl Shares {
    /// The defaults where the runtime has no value: no canary, and every request is observed.
    pub const DEFAULT: Self = Self { canary: Share::OFF, beta: Share::OFF, observe: Share::ALL };

    /// Reads the response of Envoy's admin interface to `/runtime`; `None` where it is something else. A value that is
    /// not a share counts as its default.
    #[must_use]
    pub fn from_listing(runtime: &[u8]) -> Option<Self> {
        // Another server's response may be JSON too.
        let runtime = share::parse_runtime(runtime).filter(|runtime| runtime.get("entries").is_some())?;
        let share =
            |key: &str, default| share::runtime_value(&runtime, key).and_then(Share::from_runtime).unwrap_or(default);
        Some(Self {
            canary: share(RUNTIME_KEY, Self::DEFAULT.canary),
            beta: share(BETA_KEY, Self::DEFAULT.beta),
            observe: share(OBSERVE_KEY, Self::DEFAULT.observe),
        })
    }

    /// Returns `true` if a user may be in the canary.
    #[must_use]
    pub const fn any_canary(&self) -> bool {
        self.canary.numerator() > 0 || self.beta.numerator() > 0
    }
}

/// The copy, and its age.
#[derive(Debug, Clone, Copy)]
pub struct ShareCopy {
    shares: Shares,
    /// The runtime had these values at this time or later; `None` before the first copy.
    at_ns: Option<u64>,
}

impl Default for ShareCopy {
    fn default() -> Self {
        Self { shares: Shares::DEFAULT, at_ns: None }
    }
}

impl ShareCopy {
    /// Replaces the copy by `shares`, which the runtime had at `at_ns` or later.
    pub const fn renew(&mut self, shares: Shares, at_ns: u64) {
        self.shares = shares;
        self.at_ns = Some(at_ns);
    }

    /// Returns `true` if traffic needs a newer copy at `now_ns`.
    #[must_use]
    pub const fn due(&self, now_ns: u64) -> bool {
        match self.at_ns {
            Some(at_ns) => now_ns.saturating_sub(at_ns) >= RENEW_NS,
            None => true,
        }
    }

    /// Returns `true` if the copy must be renewed without traffic too.
    #[must_use]
    pub const fn renews_when_idle(&self) -> bool {
        self.shares.any_canary() || self.at_ns.is_none()
    }

    /// Returns `true` if a user may be in the canary by this copy.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.shares.any_canary()
    }

    /// The user's arm, provided that the copy is not [stale](Self::stale).
    #[must_use]
    pub fn arm(&self, bucket: Bucket, cohort: Cohort) -> Arm {
        // In the common case no share is above 0, and nothing need be hashed.
        if self.shares.any_canary() {
            share::arm(bucket, cohort, self.shares.canary, self.shares.beta)
        } else {
            Arm::Baseline
        }
    }

    /// Returns `true` if the copy is too old at `now_ns` for a user to be given the candidate.
    #[must_use]
    pub const fn stale(&self, now_ns: u64) -> bool {
        match self.at_ns {
            Some(at_ns) => now_ns.saturating_sub(at_ns) > STALE_NS,
            None => true,
        }
    }

    /// Returns `true` if the request with the given `x-request-id` is observed.
    #[must_use]
    pub fn observes(&self, request_id: Option<&[u8]>) -> bool {
        self.shares.observe == Share::ALL
            || request_id.is_some_and(|request_id| share::sampled(request_id, self.shares.observe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Shares {
        Shares { canary: Share::ALL, ..Shares::DEFAULT }
    }

    #[test]
    fn a_copy_is_renewed_after_a_second_and_counts_as_share_0_after_two() {
        let mut copy = ShareCopy::default();
        assert!(copy.due(0) && copy.stale(0) && copy.renews_when_idle(), "no copy yet");
        copy.renew(all(), 1_000);
        assert!(!copy.due(RENEW_NS) && copy.due(RENEW_NS + 1_000));
        assert!(!copy.stale(STALE_NS + 1_000) && copy.stale(STALE_NS + 1_001));
        assert!(copy.renews_when_idle());
        copy.renew(Shares::DEFAULT, 1_000);
        assert!(!copy.renews_when_idle(), "an idle gateway without a canary does not wake");
    }

    #[test]
    fn the_arm_is_that_of_the_shares() {
        let mut copy = ShareCopy::default();
        assert_eq!(copy.arm(Bucket(1), Cohort::Beta), Arm::Baseline);
        copy.renew(all(), 0);
        assert_eq!(copy.arm(Bucket(1), Cohort::Ordinary), Arm::Candidate);
        assert_eq!(copy.arm(Bucket(1), Cohort::OptOut), Arm::Baseline);
        copy.renew(Shares { beta: Share::ALL, ..Shares::DEFAULT }, 0);
        assert_eq!(copy.arm(Bucket(1), Cohort::Ordinary), Arm::Baseline);
        assert_eq!(copy.arm(Bucket(1), Cohort::Beta), Arm::Candidate);
    }

    #[test]
    fn requests_without_an_id_are_observed_if_all_are() {
        let mut copy = ShareCopy::default();
        assert!(copy.observes(None));
        copy.renew(Shares { observe: Share::percent(50), ..Shares::DEFAULT }, 0);
        assert!(!copy.observes(None));
        let observed = (0..100).filter(|n: &u32| copy.observes(Some(n.to_string().as_bytes()))).count();
        assert!((30..70).contains(&observed), "{observed}");
    }

    #[test]
    fn a_listing_of_the_admin_interface_is_read() {
        let listing = |entries: &str| format!(r#"{{"layers":["a"],"entries":{{{entries}}}}}"#);
        let entry =
            |key: &str, value: &str| format!(r#""{key}":{{"final_value":"{value}","layer_values":["{value}"]}}"#);
        let read = |text: String| Shares::from_listing(text.as_bytes());
        assert_eq!(read(listing("")), Some(Shares::DEFAULT));
        let shares = read(listing(&entry(RUNTIME_KEY, "10"))).unwrap();
        assert_eq!(shares, Shares { canary: Share::percent(10), ..Shares::DEFAULT });
        assert_eq!(read(listing(&entry(RUNTIME_KEY, "garbage"))), Some(Shares::DEFAULT));
        assert_eq!(read("{}".into()), None);
        assert_eq!(read("no JSON".into()), None);
    }
}
