//! What Envoy notes about a request for the native module, in the request's dynamic metadata. Its RBAC filter evaluates
//! Envoy's own matchers as shadow rules, which refuse nobody; its note of the policy that matched is all that is wanted.

/// The metadata's namespace, which is that filter's.
pub const NAMESPACE: &str = "envoy.filters.http.rbac";
/// Keeps the note apart from those of other RBAC filters: the filter's prefix of statistics.
pub const PREFIX: &str = "perch_";
/// Where it stands. There is none for a user outside the canary whose request is observed.
pub const KEY: &str = "perch_shadow_effective_policy_id";
/// The user is in the canary.
pub const IN_CANARY: &str = "canary";
/// The user is in the canary, and the sample of the observations leaves the request out.
pub const IN_CANARY_LEFT_OUT: &str = "canary_left_out";
/// The user is not in the canary, and the sample leaves the request out.
pub const LEFT_OUT: &str = "left_out";
