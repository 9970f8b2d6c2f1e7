//! Sources of the guard's counters, shares and models.
//!
//! | module | source |
//! |---|---|
//! | [`scrape`] | counters from Envoy's admin interface and the scorers' `/metrics`, where there is no Prometheus |
//! | [`prometheus`] | the same counters from Prometheus |
//! | [`system`] | either of them, and the programs themselves: the gateways' share, evidence by user |
//! | [`totals`] | counters by target, across restarts and gaps |
//! | [`series`] | from series to a [`SystemSnapshot`](guard::snapshot::SystemSnapshot) |

use clients::Sample;
use contract::evidence::Evidence;
use guard::snapshot::GatewayShare;

pub mod prometheus;
pub mod scrape;
pub mod series;
pub mod system;
pub mod totals;

/// The readings of one evaluation. Everything that could not be read is missing here and named in `data_gaps` or
/// `problems`.
#[derive(Debug, Clone, Default)]
pub struct SourceReading {
    /// The share that the gateways hold.
    pub share: GatewayShare,
    /// Samples, each with its target in the label `instance`.
    pub samples: Vec<Sample>,
    /// Evidence by user.
    pub evidence: Option<Evidence>,
    /// Why counters are missing from `samples`, for people; the rollout does not advance while there are any.
    pub data_gaps: Vec<String>,
    /// Everything else that could not be read, for people.
    pub problems: Vec<String>,
}

/// A system that the guard can read.
pub trait Source {
    /// Reads the system, with evidence by user from `since_ms` (since 1970) on. Never fails: a value that could not be
    /// read is missing from the result.
    fn read(&mut self, since_ms: u64) -> impl Future<Output = SourceReading> + Send;
}

/// The label that names the target of a sample.
pub const INSTANCE: &str = "instance";
/// Name of a sample whose value is the time of the scrape, in seconds since 1970; no program exports it.
pub const SCRAPED_AT: &str = "perch_scraped_at";
