//! Perch's Envoy filter: sticky buckets, canary responses, observations.
//!
//! One filter around the application. A request passes on at once, whatever the user's arm; for a canary user the
//! candidate is asked beside the application, and its response replaces the application's body where that may be replaced.
//! Both responses go to the scorer, in batches, to be compared.
//!
//! | module | what it is | knows the host |
//! |---|---|---|
//! | [`decision`] | what is decided about a request: identity, arm, which response, observation, counts | no |
//! | [`decode`] | packed responses of the application, unpacked within a bound | no |
//! | [`config`] | the filter configuration, raw and checked | no |
//! | [`log_line`] | lines for Envoy's log: event and fields | no |
//! | [`metrics`] | every stat, its name and its place in the ledger | no |
//! | [`pairs`] | header maps as the proxy-wasm ABI writes them | no |
//! | [`plugin`] | callbacks to decisions to host calls, over the [`plugin::host::Host`] port | the port |
//! | `envoy` (wasm32 only) | the port over Envoy's host functions, and the module's exports | yes |
//!
//! A trap would answer the client with Envoy's 503, and every other request under way on the worker too. So nothing
//! here panics: outside data is never indexed, every host status is a value, and the fake host of the native tests
//! answers each call with any status it likes. The proxy-wasm SDK is not used for that reason: it panics on statuses
//! that it does not expect and on a call's answer whose request is gone, and its dispatcher forgets no call of a
//! request that ended early. It would also export callbacks that this filter has no use for, and each of them costs a
//! crossing into the VM for every request.

pub mod config;
pub mod decision;
pub mod decode;
pub mod log_line;
pub mod metrics;
pub mod pairs;
pub mod plugin;

#[cfg(target_arch = "wasm32")]
mod envoy;
