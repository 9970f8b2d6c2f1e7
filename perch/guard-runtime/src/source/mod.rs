//! Where the guard's observations come from.
//!
//! | module | what it reads |
//! |---|---|
//! | [`scrape`] | counters from Envoy's admin interface and the scorers' `/metrics`, where there is no Prometheus |
//! | [`prometheus`] | the same counters from Prometheus |
//! | [`system`] | either of them, with what only the parts themselves can say: the gateways' share, evidence by user |
//! | [`totals`] | counters by target, across restarts and gaps |
//! | [`reading`] | from series to an [`Observation`](guard::observation::Observation) |

use clients::Sample;
use contract::evidence::Evidence;
use guard::observation::SeenShare;

pub mod prometheus;
pub mod reading;
pub mod scrape;
pub mod system;
pub mod totals;

/// What was read at one evaluation; what could not be read is missing, and said in `doubts` or `troubles`.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The share that the gateways hold.
    pub share: SeenShare,
    /// Samples, each with its target in the label `instance`.
    pub samples: Vec<Sample>,
    /// Evidence by user.
    pub evidence: Option<Evidence>,
    /// Why counters are missing from `samples`, in words: the ramp does not advance.
    pub doubts: Vec<String>,
    /// What else could not be read, in words.
    pub troubles: Vec<String>,
}

/// Something that can be looked at.
pub trait Source {
    /// Looks; evidence by user is counted from `since_ms` (since 1970) on. Never fails: what could not be read is missing.
    fn look(&mut self, since_ms: u64) -> impl Future<Output = Reading> + Send;
}

/// Where a sample comes from.
pub const INSTANCE: &str = "instance";
/// Name of a sample that says when the target was scraped, in seconds since 1970; no program exports it.
pub const SCRAPED_AT: &str = "perch_scraped_at";
