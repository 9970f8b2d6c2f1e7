//! Perch's Envoy filter: sticky arms, canary responses, observations.
//!
//! The filter stands in front of the application. A request passes on at once, whatever the user's arm. For a canary
//! user the filter also calls the scorer, and a good candidate response replaces the body of the application's
//! response. Both responses go to the scorer in batches, to be compared.
//!
//! | module | what it holds | knows the host |
//! |---|---|---|
//! | [`decision`] | the decisions about a request: identity, arm, response, observation, counts | no |
//! | [`decode`] | decompression of the application's responses, within a limit | no |
//! | [`config`] | the filter's configuration | no |
//! | [`metrics`] | every stat: its name in Envoy and its place among the counts (names: [`contract::series`]) | no |
//! | [`pairs`] | header maps in the format of the proxy-wasm ABI (values are read in [`decision::heads`]) | no |
//! | [`plugin`] | from callbacks to decisions to host calls, over the port [`plugin::host`] | the port |
//! | [`log_line`] | lines for Envoy's log: event and fields | no |
//! | `envoy` (wasm32 only) | the port over Envoy's host functions, and the module's exports | yes |
//!
//! A trap would give Envoy's 503 to the client, and to every other request in flight on the worker. So nothing here
//! panics: outside data is never indexed, every host status is a value, and the tests' fake host returns arbitrary
//! statuses. The proxy-wasm SDK is not used for that reason: it panics on unexpected statuses and on the response to a
//! call whose request is gone, and its dispatcher keeps the calls of requests that ended early. It would also export
//! callbacks that this filter does not need, each of which costs an entry into the VM for every request.

pub mod config;
pub mod decision;
pub mod decode;
pub mod log_line;
pub mod metrics;
pub mod pairs;
pub mod plugin;

#[cfg(target_arch = "wasm32")]
mod envoy;
