//! The configuration as it is written. Everything but `salt` has a default; an unknown field is a mistake.

use contract::response::ResponseSchema;
use serde::Deserialize;

/// The document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The deployment's secret, at least 16 bytes. The same in all gateways, or users change arms between them.
    pub salt: String,
    /// Where an identity may stand, in order; body last.
    #[serde(default = "default_identity")]
    pub identity: Vec<Source>,
    /// Who is in a cohort.
    #[serde(default)]
    pub cohorts: Cohorts,
    /// Longest body, in bytes, that is copied to find an identity in it.
    #[serde(default = "default_identity_body")]
    pub identity_body_bytes: usize,
    /// Which requests Perch is about.
    #[serde(default)]
    pub intercept: Intercept,
    /// Media types of responses that may be replaced; others are passed through.
    #[serde(default = "default_response_types")]
    pub response_types: Vec<String>,
    /// Which items the candidate may give.
    #[serde(default)]
    pub items: Items,
    /// Tells the application in the request header `x-perch-arm: candidate` that its response may be replaced, e.g. for an
    /// application that records what it shows. The header is a change of the request.
    #[serde(default)]
    pub tell_application: bool,
    /// How responses are read.
    #[serde(default)]
    pub answer: ResponseSchema,
    /// Labels that agreement is counted by; others count as `other`.
    #[serde(default = "default_labels")]
    pub labels: Vec<String>,
    /// Where the scorer is.
    #[serde(default)]
    pub scorer: Scorer,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// One place where an identity may stand: `{"header": "x-user-id"}` and the like.
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

/// Who is in a cohort: whoever one of its members names. Opting out goes before everything else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cohorts {
    /// Users with a share of their own, e.g. one's colleagues.
    pub beta: Vec<Member>,
    /// Users who never get the model's answer.
    pub opt_out: Vec<Member>,
}

/// One way to name users: `{"header": {"name": "x-user-group", "values": ["staff"]}}` and the like.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Member {
    /// Requests whose header has one of these values. The user's authentication must set it, or remove what clients send.
    Header {
        /// The header's name.
        name: String,
        /// Its values.
        values: Vec<String>,
    },
    /// Requests with a claim that Envoy's `jwt_authn` verified and that has one of these values.
    Jwt {
        /// The provider's `payload_in_metadata`.
        payload: String,
        /// The claim's name.
        claim: String,
        /// Its values, as text: `staff`, `7`, `true`.
        values: Vec<String>,
    },
    /// These users, by their pseudonyms (`perch canary explain` tells them).
    Pseudonyms(Vec<String>),
}

/// Which requests Perch is about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intercept {
    /// Their method.
    pub method: String,
    /// Their path, without query.
    pub path: String,
}

/// Where the scorer is: names of Envoy's clusters, and times in milliseconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scorer {
    /// Cluster of live responses.
    pub live_cluster: String,
    /// Cluster of observations.
    pub observe_cluster: String,
    /// Cluster of Envoy's own admin interface, which tells the shares: all of them in WebAssembly, fractions in native.
    pub admin_cluster: String,
    /// `:authority` of calls.
    pub authority: String,
    /// How long a canary user's response waits for the candidate's, from the request's end on, 1 to 60,000.
    pub deadline_ms: u32,
    /// How long a batch waits for its result, 1 to 60,000.
    pub observe_timeout_ms: u32,
}

/// Bounds, per worker where they are not per request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest request body that the candidate is asked with, in bytes.
    pub body_bytes: usize,
    /// Longest response of the application that is observed, in bytes.
    pub response_bytes: usize,
    /// Longest response of the application that may be replaced, in bytes: a longer one passes at once. With the largest
    /// part in which Envoy hands it over (the buffer limit of the application's cluster) it must fit into the buffer limit
    /// of the listener.
    pub held_bytes: usize,
    /// Longest response of the candidate, in bytes. At most the buffer limit of the listener.
    pub candidate_bytes: usize,
    /// A batch is sent when it is this long, in bytes; where nothing is said, [`super::Module::batch_bytes`].
    pub batch_bytes: Option<usize>,
    /// Bytes of copies of responses and of waiting records; past it observations are dropped.
    pub pending_bytes: usize,
    /// Bytes of copies of requests that come; past it the copy goes that has not grown for the longest time. As much again
    /// for responses that wait for one another; past it they pass.
    pub canary_bytes: usize,
    /// Bytes of batches under way.
    pub in_flight_bytes: usize,
    /// Longest time that a record or count waits, in milliseconds.
    pub flush_ms: u32,
}

/// Which items the candidate may give.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// The application's, told by their ids, or fewer.
    #[default]
    OfApplication,
    /// Any: for searches and rankings.
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

fn default_labels() -> Vec<String> {
    contract::names::SPENDING_LABELS.iter().map(|label| (*label).to_owned()).collect()
}
