//! Names of the HTTP headers that Perch writes or reads. Their values are read in the filter's `decision::heads` and in the scorer's
//! routes.

/// All of Perch's headers begin with this; Envoy's early header mutation removes such headers from client requests
/// before any filter runs.
pub const PREFIX: &str = "x-perch-";

/// Request to the scorer: the user's bucket, 16 lowercase hex digits (see [`crate::bucket`]).
pub const BUCKET: &str = "x-perch-bucket";

/// Response: the [`crate::names::Arm`] that the client was given. Request to the application, where the filter is
/// configured to add it: the user's arm.
pub const ARM: &str = "x-perch-arm";

/// Response: how the candidate failed; a [`crate::names::FallbackReason`] value.
pub const FALLBACK: &str = "x-perch-fallback";

/// Response: version of the model that gave it.
pub const MODEL_VERSION: &str = "x-perch-model-version";

/// Response of the scorer, whenever the scorer itself wrote it; value `1`. A response without it was made by Envoy
/// (refused, timed out, circuit open), so the filter can distinguish the two.
pub const SCORER: &str = "x-perch-scorer";

/// Response of the scorer, when it cannot serve a live request; a [`crate::names::Unavailable`] value.
pub const UNAVAILABLE: &str = "x-perch-unavailable";

/// The demo's identity header. In production the user's own authentication sets it.
pub const DEMO_IDENTITY: &str = "x-user-id";
