//! The configuration as it is written. Every field but `salt` and `labels` has a default; an unknown field is refused.

use contract::cohorts::Cohorts;
use contract::response::ResponseSchema;
use serde::Deserialize;

/// The document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The deployment's secret, at least 16 bytes. The same in all gateways, or users change arms between them.
    pub salt: String,
    /// Where the user's identity may be found, in order; sources in the body last.
    #[serde(default = "default_identity")]
    pub identity: Vec<Source>,
    /// Members of the cohorts.
    #[serde(default)]
    pub cohorts: Cohorts,
    /// Longest request body, in bytes, that is copied to find an identity in it.
    #[serde(default = "default_identity_body")]
    pub identity_body_bytes: usize,
    /// Which requests are intercepted.
    #[serde(default)]
    pub intercept: Intercept,
    /// Media types of responses that may be replaced; others are passed through.
    #[serde(default = "default_response_types")]
    pub response_types: Vec<String>,
    /// Items that the candidate may give.
    #[serde(default)]
    pub items: Items,
    /// Adds the header `x-perch-arm: candidate` to a request whose response may be replaced, e.g. for an application that
    /// records what it shows.
    #[serde(default)]
    pub arm_request_header: bool,
    /// How responses are read.
    #[serde(default)]
    pub response: ResponseSchema,
    /// Labels by which agreement is counted; any other label counts as `other`.
    pub labels: Vec<String>,
    /// How the scorer is called.
    #[serde(default)]
    pub scorer: Scorer,
    /// Limits of sizes and times.
    #[serde(default)]
    pub limits: Limits,
}

/// One place where an identity may be found: `{"header": "x-user-id"}` and the like.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A request header's name.
    Header(String),
    /// A cookie's name.
    Cookie(String),
    /// A claim that Envoy's `jwt_authn` verified.
    Jwt {
        /// The provider's `payload_in_metadata`.
        payload: String,
        /// The claim's name.
        claim: String,
    },
    /// A JSON pointer into the body.
    Body(String),
}

/// Which requests are intercepted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intercept {
    /// Their method.
    pub method: String,
    /// Their path, without query.
    pub path: String,
}

/// How the scorer is called: names of Envoy's clusters, and times in milliseconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scorer {
    /// Cluster for live requests.
    pub live_cluster: String,
    /// Cluster for observations.
    pub observe_cluster: String,
    /// Cluster of Envoy's own admin interface, from which the filter reads the shares: the WebAssembly module all of them,
    /// the native module fractions only.
    pub admin_cluster: String,
    /// `:authority` of calls.
    pub authority: String,
    /// Longest wait for a candidate response, from the end of the request, 1 to 60,000.
    pub deadline_ms: u32,
    /// Longest wait for a batch result, 1 to 60,000.
    pub observe_timeout_ms: u32,
}

/// Limits of sizes and times, per worker unless they say otherwise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest request body with which the scorer is called, in bytes.
    pub body_bytes: usize,
    /// Longest application's response that is observed, in bytes.
    pub response_bytes: usize,
    /// Longest application's response that may be replaced, in bytes; a longer one is passed through at once. The sum of this
    /// limit and the buffer limit of the application's cluster must not exceed the buffer limit of the listener.
    pub held_bytes: usize,
    /// Longest candidate response, in bytes. At most the buffer limit of the listener.
    pub candidate_bytes: usize,
    /// Largest batch, in bytes; by default [`super::Module::batch_bytes`].
    pub batch_bytes: Option<usize>,
    /// Bytes of copied responses and of records that wait to be sent; beyond it observations are dropped.
    pub pending_bytes: usize,
    /// Bytes of copied requests; beyond it the copy is dropped that has not grown for the longest time. The same again for
    /// responses that are held; beyond it they are passed through.
    pub canary_bytes: usize,
    /// Bytes of batches in flight.
    pub in_flight_bytes: usize,
    /// Longest time that a record or count waits to be sent, in milliseconds.
    pub flush_ms: u32,
}

/// Items that the candidate may give.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// The application's items, identified by their ids, or fewer.
    #[default]
    OfApplication,
    /// Any items, for searches and rankings.
    Any,
}

impl Default for Intercept {
    fn default() -> Self {
        Self { method: "POST".into(), path: "/ml/suggestions".into() }
    }
}

impl Default for Scorer {
    fn default() -> Self {
        Self {
            live_cluster: "perch_scorer_live".into(),
            observe_cluster: "perch_scorer_observe".into(),
            admin_cluster: "perch_admin".into(),
            authority: "shadow-scorer".into(),
            deadline_ms: 250,
            observe_timeout_ms: 2_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            response_bytes: 1024 * 1024,
            held_bytes: 256 * 1024,
            candidate_bytes: 256 * 1024,
            batch_bytes: None,
            pending_bytes: 8 * 1024 * 1024,
            canary_bytes: 8 * 1024 * 1024,
            in_flight_bytes: 8 * 1024 * 1024,
            flush_ms: 200,
        }
    }
}

fn default_identity() -> Vec<Source> {
    vec![Source::Header(contract::headers::DEMO_IDENTITY.to_owned())]
}

fn default_response_types() -> Vec<String> {
    vec!["application/json".to_owned()]
}

const fn default_identity_body() -> usize {
    64 * 1024
}
