//! What Envoy notes about a request for the native module, in the request's dynamic metadata. Its RBAC filter evaluates
//! Envoy's own matchers and refuses nobody; its notes are all that is wanted of it.

/// The metadata's namespace, which is that filter's.
pub const NAMESPACE: &str = "envoy.filters.http.rbac";
/// Keeps these notes apart from those of other RBAC filters: what the filter's two statistics prefixes are set to.
pub const PREFIX: &str = "perch_";
/// Under this key stands whether the request's user is in the canary: [`IN_CANARY`] if so.
pub const CANARY: &str = "perch_shadow_engine_result";
/// See [`CANARY`].
pub const IN_CANARY: &str = "allowed";
/// Under this key stands [`LEFT_OUT`] where the sample of the observations leaves the request out.
pub const SAMPLE: &str = "perch_enforced_effective_policy_id";
/// See [`SAMPLE`].
pub const LEFT_OUT: &str = "left_out";
