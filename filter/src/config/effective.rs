//! The configuration in effect: checked, with defaults filled in.

use contract::bucket::Salt;
use contract::response::ResponseSchema;

use crate::decision::cohort::Cohorts;
use crate::decision::identity::Source;
use crate::decision::intercept::Intercept;

/// Most labels: each is three counters in every worker's table and in every scrape.
pub const MAX_LABELS: usize = 256;

/// How the scorer is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scorer {
    /// Envoy's cluster for live requests.
    pub live_cluster: String,
    /// Envoy's cluster for observations.
    pub observe_cluster: String,
    /// Envoy's cluster of its own admin interface.
    pub admin_cluster: String,
    /// `:authority` of calls.
    pub authority: String,
    /// 1..=60,000 ms.
    pub deadline_ms: u32,
    /// 1..=60,000 ms.
    pub observe_timeout_ms: u32,
}

/// Limits of sizes and times. A size is per worker unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Per request: request body that is copied to find an identity in it.
    pub identity_body_bytes: usize,
    /// Per request: request body that is copied to call the scorer with.
    pub body_bytes: usize,
    /// Per request: application's response that is copied.
    pub response_bytes: usize,
    /// Per request: application's response that is held until the candidate's is there.
    pub held_bytes: usize,
    /// Per request: candidate response.
    pub candidate_bytes: usize,
    /// Largest batch.
    pub batch_bytes: usize,
    /// Copies of responses, and records that wait to be sent.
    pub pending_bytes: usize,
    /// Copies of incoming requests, and the same again for responses that are held.
    pub canary_bytes: usize,
    /// Batches in flight.
    pub in_flight_bytes: usize,
    /// 1..=10,000 ms.
    pub flush_ms: u32,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// The deployment's secret; its `Debug` hides it.
    pub salt: Salt,
    /// Where identities are found, in order; at least one, those in the body last.
    pub identity: Vec<Source>,
    /// Members of each cohort.
    pub cohorts: Cohorts,
    /// Which requests are intercepted.
    pub intercept: Intercept,
    /// Media types of responses that may be replaced, in lower case.
    pub response_types: Vec<String>,
    /// The candidate may give items that the application does not.
    pub any_items: bool,
    /// The request to the application gets the header `x-perch-arm: candidate` when its response may be replaced.
    pub arm_request_header: bool,
    /// How responses are read.
    pub response: ResponseSchema,
    /// The same as JSON, which is sent with every batch.
    pub response_json: String,
    /// At most [`MAX_LABELS`], each once.
    pub labels: Vec<String>,
    /// How the scorer is called.
    pub scorer: Scorer,
    /// Limits of sizes and times.
    pub limits: Limits,
}

impl Config {
    /// Returns `true` if an identity or a cohort is read from metadata that another of Envoy's filters writes.
    #[must_use]
    pub fn reads_metadata(&self) -> bool {
        self.identity.iter().any(|source| matches!(source, Source::Jwt(_)))
            || [&self.cohorts.beta, &self.cohorts.opt_out].iter().any(|members| !members.claims.is_empty())
    }
}
