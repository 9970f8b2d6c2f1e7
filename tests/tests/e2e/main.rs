//! What Perch promises, sentence by sentence, on the real Envoy with the built filter.
//!
//! `make test-rust` runs it; the load of `accounting` is a tenth of what `make test-load` makes it. What is missing
//! (Envoy, the filter's module, a model) fails a test with the command that makes it; nothing is skipped.

mod accounting;
mod api;
mod around;
mod cohort;
mod exposition;
mod fallback;
mod forged;
mod guarded;
mod hostile;
mod identical;
mod identity;
mod native;
mod observation;
mod refusals;
mod scorer;
mod seed;
mod store;
mod switch;
mod untouched;
mod update;
