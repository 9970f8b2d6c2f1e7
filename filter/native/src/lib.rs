//! Perch's filter as an Envoy dynamic module: native code in Envoy's own process.
//!
//! The same filter as the WebAssembly module, over the same port ([`filter::plugin::host::Host`]), decision for decision;
//! what differs is the host. There is no VM to enter, headers and bodies are read where they lie, and what is left of the
//! filter's price is little more than that of any filter of Envoy's (`docs/benchmarks.md` has the figures). The price is the
//! sandbox: this code shares Envoy's memory. So all `unsafe` stands in the files that touch Envoy's side, each use with its reason, and
//! no panic leaves a hook: the stream goes on as if the filter were not there, and its worker begins anew. A trap in the
//! VM costs every request under way on its worker; a panic here costs none.
//!
//! | module | what it is |
//! |---|---|
//! | `abi` | Envoy's types and functions |
//! | `hooks` | what Envoy calls, and something happens |
//! | `survived` | where a panic ends |
//! | `unused` | what Envoy calls besides |
//! | `exchange` | one stream on its way through the filter |
//! | `place` | one configuration on one of Envoy's worker threads |
//! | `runtime` | the shares that Envoy's runtime holds |
//! | `admin` | Envoy's word that somebody has changed the runtime |
//! | `stream` | the port for a callback of a stream |
//! | `received` | what a call was answered with |
//! | `plugin` | one filter configuration, and what it does on Envoy's main thread: ticks, batches, counters |
//! | `main_thread` | the port for what happens there |
//! | `sending` | batches' way to the scorer |
//! | `scheduler` | the way to the main thread from another |
//! | `ticker` | the thread that asks for a tick |
//! | `drill` | failures on purpose, in a build for tests |
//!
//! A worker thread has no events of its own here: a batch cannot be sent from it once the request that filled it is over,
//! nor can it be woken when traffic stops. Both are the main thread's, which takes the worker's lock for as long as it
//! takes to close a batch and hand the counts over, never while it calls anybody; else nobody but the worker holds it.

mod abi;
mod admin;
mod drill;
mod exchange;
mod hooks;
mod main_thread;
mod place;
mod plugin;
mod received;
mod runtime;
mod scheduler;
mod sending;
mod stream;
mod survived;
mod ticker;
mod unused;
