//! Perch's filter as an Envoy dynamic module: native code in Envoy's own process.
//!
//! The same filter as the WebAssembly module, over the same port ([`filter::plugin::host::Host`]), decision for
//! decision; what differs is the host. There is no VM to enter, headers and bodies are read where they lie, and what is
//! left of the filter's price is little more than that of any filter of Envoy's (`docs/benchmarks.md` has the figures).
//! The price is the sandbox: this code shares Envoy's memory. So all `unsafe` stands in the files that touch Envoy's
//! side, each use with its reason, and no panic leaves a hook: the stream goes on as if the filter were not there, and
//! its worker begins anew. A trap in the VM costs every request under way on its worker; a panic here costs none.
//!
//! A module uses those above it in this table at most:
//!
//! | module | what it is |
//! |---|---|
//! | `abi` | Envoy's types and functions, as its header declares them |
//! | `envoy` | safe handles over them |
//! | `ticker` | the thread that asks for a tick |
//! | `outbox` | batches that wait for the main thread |
//! | `shares` | the shares that Envoy's runtime holds |
//! | `shared` | what all threads share of one filter configuration |
//! | `fault_injection` | failures on purpose, in a build for tests |
//! | `worker` | one configuration on one of Envoy's worker threads |
//! | `batch_sender` | batches' way to the scorer |
//! | `worker_host` | the port where no stream is |
//! | `stream_host` | the port for a callback of a stream |
//! | `stream_state` | one stream on its way through the filter |
//! | `main_thread` | one filter configuration on Envoy's main thread: ticks, batches, shares |
//! | `catch_panic` | where a panic ends |
//! | `hooks` | what Envoy calls, and something happens |
//! | `admin_hooks` | Envoy's word that somebody has changed the runtime |
//! | `unused_hooks` | what Envoy calls besides |
//!
//! Envoy's configuration owns the main thread's state, that the workers, and all of them share one [`shared::Shared`],
//! which owns none of them: once Envoy has destroyed configuration and streams, nothing is left.
//!
//! A worker thread has no events of its own here: a batch cannot be sent from it once the request that filled it is
//! over, nor can it be woken when traffic stops. Both are the main thread's, which takes the worker's lock for as long
//! as it takes to close a batch and hand the counts over, never while it calls anybody; else nobody but the worker
//! holds it.

mod abi;
mod admin_hooks;
mod batch_sender;
mod catch_panic;
mod envoy;
mod fault_injection;
mod hooks;
mod main_thread;
mod outbox;
mod shared;
mod shares;
mod stream_host;
mod stream_state;
#[cfg(test)]
mod tests;
mod ticker;
mod unused_hooks;
mod worker;
mod worker_host;
