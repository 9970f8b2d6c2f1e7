//! What Perch promises, sentence by sentence, on the real Envoy with the built filter.
//!
//! `make test-rust` runs it; the load of `accounting` is a tenth of what `make test-load` makes it. What is missing
//! (Envoy, the filter's module, a model) fails a test with the command that makes it; nothing is skipped.

mod accounting;
mod api;
mod application;
mod cohort;
mod documented_commands;
mod exposition;
mod fallback;
mod forged_headers;
mod guarded_rollout;
mod hostile_clients;
mod identity;
mod listener_update;
mod native_module;
mod observation;
mod other_traffic;
mod scorer;
mod share;
mod startup_errors;
mod store;
mod unchanged_bodies;
