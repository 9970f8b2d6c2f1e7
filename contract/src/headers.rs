//! Headers that Perch writes. Whatever a client sends under [`PREFIX`] is removed by Envoy before any filter runs.

/// Everything of ours starts with this; Envoy's early header mutation removes it from client requests.
pub const PREFIX: &str = "x-perch-";

/// Request: the user's pseudonym, 16 lowercase hex digits (see [`crate::bucket`]). Envoy's matcher hashes it.
pub const BUCKET: &str = "x-perch-bucket";

/// Request: the user's cohort, a [`crate::names::Cohort`] value other than `none`, as the filter wrote it. Envoy's matcher
/// reads it beside the bucket, and an application may, to store it with its events.
pub const COHORT: &str = "x-perch-cohort";

/// Request, set by Envoy itself when the observation sample leaves this request out; value `1`.
pub const UNSAMPLED: &str = "x-perch-unsampled";

/// Request from the scorer to the rules backend: answer, but write no suggestion event; value `1`.
pub const SHADOW: &str = "x-perch-shadow";

/// Response: which side answered, `rule` or `model`.
pub const ARM: &str = "x-perch-arm";

/// Response: why the rules answered for the model; a [`crate::names::FallbackReason`] value.
pub const FALLBACK: &str = "x-perch-fallback";

/// Response: version of the model that answered.
pub const MODEL_VERSION: &str = "x-perch-model-version";

/// Response of the scorer, on every answer that it wrote itself; value `1`. An answer without it was made by Envoy
/// on the way (refused, timed out, circuit open), which is how the filter tells the two apart.
pub const SCORER: &str = "x-perch-scorer";

/// Response of the scorer, when it cannot answer a live request; a [`crate::names::Unavailable`] value.
pub const UNAVAILABLE: &str = "x-perch-unavailable";

/// The demo's identity header. In production the user's own authentication sets it.
pub const DEMO_IDENTITY: &str = "x-user-id";
