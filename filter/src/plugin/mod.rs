//! Callbacks to decisions to host calls: the glue, over the port of [`host`] so that native tests can be the host. A
//! module uses those above it in this table at most.
//!
//! | module | what it is |
//! |---|---|
//! | [`host`] | the port: the calls to Envoy that the filter makes, every status a value |
//! | [`pool`] | buffers that are used again |
//! | [`replacement`] | how a response goes on, and a candidate's body in it |
//! | [`counters`] | adds the tallies to Envoy's counters, and decides when to tick |
//! | [`stream`] | what is kept of one intercepted request |
//! | [`filter`] | one configured filter on one worker: limits, batches, shares, and what happens at a tick |
//! | `call` | calls to the scorer for canary users, and what their responses lead to |
//! | `request` | a request on its way to the application: bucket, arm, the copy that is sent to the candidate |
//! | `response` | the application's response on its way to the client: passed on, held or replaced |
//! | [`worker`] | one VM: its streams, and each callback's way to them |

mod call;
pub mod counters;
pub mod filter;
pub mod host;
pub mod pool;
pub mod replacement;
mod request;
mod response;
pub mod stream;
pub mod worker;
