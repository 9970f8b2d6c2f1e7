//! What Perch promises, sentence by sentence, on the real Envoy with the built filter.
//!
//! `cargo test -p e2e` runs everything but the long load of `accounting`, which `PERCH_E2E_FULL=1` adds. What is missing
//! (Envoy, the filter's module, a model) fails a test with the command that makes it; nothing is skipped.

mod accounting;
mod exposition;
mod fallback;
mod forged;
mod identical;
mod identity;
mod observation;
mod refusals;
mod scorer;
mod seed;
mod switch;
mod untouched;
