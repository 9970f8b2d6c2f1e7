//! Callbacks to decisions to host calls: the glue, over the [`host::Host`] port so that native tests can play the host.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the port: what the filter asks of Envoy, every status a value |
//! | [`worker`] | one VM: its streams, and each callback's way to them |
//! | [`roots`] | the plugins of one worker, and what they share |
//! | [`observe`] | the plugin for all users: bucket, copies, batches |
//! | `said` | what headers say to it |
//! | [`model`] | the plugin for canary users: hold, ask, answer or let go |
//! | [`handover`] | a canary's request on its way from the one to the other |
//! | [`counters`] | the ledger's way to Envoy's counters, and when to tick |
//! | [`pool`] | buffers that are used again |
//!
//! The model plugin leaves its word where only a filter can: an answer of its own carries response code details of our own,
//! a fallback stands in the stream's filter state. "observe" believes an `x-perch-*` response header only with that word
//! behind it, so whatever an upstream writes (another gateway with Perch in it, say) is removed. That costs nothing for the
//! users of the rules. The request that the model answered goes from the one plugin to the other through the worker's
//! memory, so both have to run in one VM; in two, the model's answers would be counted as dropped.

pub mod counters;
pub mod handover;
pub mod host;
pub mod model;
pub mod observe;
pub mod pool;
pub mod roots;
mod said;
pub mod worker;

/// Response code details of the model's answers; they show up in access logs too.
pub const MODEL_DETAILS: &str = "perch_model";

/// Where the model plugin notes a fallback's reason in the stream's filter state.
pub const FALLBACK_NOTE: &str = "perch.fallback";
