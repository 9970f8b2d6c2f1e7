//! Callbacks to decisions to host calls: the glue, over the [`host::Host`] port so that native tests can play the host.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the port: what the filter asks of Envoy, every status a value |
//! | [`worker`] | one VM: its root contexts and streams, and each callback's way to them |
//! | [`observe`] | the plugin for all users: bucket, copies, batches |
//! | [`model`] | the plugin for canary users: hold, ask, answer or let go |
//! | [`counters`] | the ledger's way to Envoy's counters, and when to tick |
//! | [`pool`] | buffers that are used again |
//!
//! The two plugins share no memory. The model plugin leaves its word where only a filter can: an answer of its own
//! carries response code details of our own, a fallback stands in the stream's filter state. "observe" believes an
//! `x-perch-*` response header only with that word behind it, so whatever an upstream writes (another gateway with Perch
//! in it, say) is removed. This works in one VM or two, and costs nothing for the users of the rules.

pub mod counters;
pub mod host;
pub mod model;
pub mod observe;
pub mod pool;
pub mod worker;

/// Response code details of the model's answers; they show up in access logs too.
pub const MODEL_DETAILS: &str = "perch_model";

/// Where the model plugin notes a fallback's reason in the stream's filter state.
pub const FALLBACK_NOTE: &str = "perch.fallback";
