//! Headers that Perch writes. Whatever a client sends under [`PREFIX`] is removed by Envoy before any filter runs.

/// Everything of ours starts with this; Envoy's early header mutation removes it from client requests.
pub const PREFIX: &str = "x-perch-";

/// Request to the scorer: the user's pseudonym, 16 lowercase hex digits (see [`crate::bucket`]).
pub const BUCKET: &str = "x-perch-bucket";

/// Response: which [`crate::names::Arm`] the client was given. Request to the application, where the filter is configured
/// so: the user's arm, whose response may replace the application's.
pub const ARM: &str = "x-perch-arm";

/// Response: how the candidate failed; a [`crate::names::FallbackReason`] value.
pub const FALLBACK: &str = "x-perch-fallback";

/// Response: version of the model whose response it is.
pub const MODEL_VERSION: &str = "x-perch-model-version";

/// Response of the scorer, on every answer that it wrote itself; value `1`. An answer without it was made by Envoy
/// on the way (refused, timed out, circuit open), which is how the filter tells the two apart.
pub const SCORER: &str = "x-perch-scorer";

/// Response of the scorer, when it cannot answer a live request; a [`crate::names::Unavailable`] value.
pub const UNAVAILABLE: &str = "x-perch-unavailable";

/// The demo's identity header. In production the user's own authentication sets it.
pub const DEMO_IDENTITY: &str = "x-user-id";
