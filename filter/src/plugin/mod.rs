//! Callbacks to decisions to host calls: the glue, over the [`host::Host`] port so that native tests can be the host.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the port: what the filter asks of Envoy, every status a value |
//! | [`worker`] | one VM: its streams, and each callback's way to them |
//! | [`filter`] | one configured filter on one worker: limits, batches, shares, and what happens at a tick |
//! | `request` | a request on its way to the application: bucket, arm, the copy that the candidate is asked with |
//! | `response` | the application's response on its way to the client: passed, held, replaced |
//! | [`call`] | calls to the scorer for canary users, and what their responses lead to |
//! | [`replacement`] | a candidate's body in the application's response |
//! | [`counters`] | from pending counts to Envoy's counters, and when to tick |
//! | [`pool`] | buffers that are used again |

pub mod call;
pub mod counters;
pub mod filter;
pub mod host;
pub mod pool;
pub mod replacement;
mod request;
mod response;
pub mod worker;
