//! What a run has measured.

use super::cases::Case;
use super::feed::FeedResult;
use crate::figures::Rounds;

/// Load, as a part of saturation, at which nothing may be dropped.
pub(super) const STEADY_SHARE: f64 = 0.8;

/// The scorer at saturation.
pub(super) struct Saturated {
    pub(super) case: Case,
    /// Observations a second.
    pub(super) rate: Rounds,
    /// µs of CPU an observation.
    pub(super) cpu: Rounds,
    /// That, as a multiple of the first case's just before and just after: what the machine does to both cancels out.
    pub(super) over_first: Rounds,
    pub(super) last: FeedResult,
}

/// How many gateway cores a scorer core can serve; the two were measured in turns.
#[derive(Default)]
pub(super) struct Reach {
    /// Requests a second of a gateway core.
    pub(super) gateway: Rounds,
    /// Observations a second of a scorer core.
    pub(super) scorer: Rounds,
    /// The scorer's, as a multiple of the gateway's just before and just after.
    pub(super) cores: Rounds,
}

/// The results of a run.
pub(super) struct Results {
    pub(super) reach: Reach,
    pub(super) cases: Vec<Saturated>,
    pub(super) sent: u64,
    pub(super) steady: FeedResult,
    /// The scorer's memory in bytes, before the first observation and at even steps of the long run.
    pub(super) memory: Vec<u64>,
    pub(super) long: FeedResult,
}
