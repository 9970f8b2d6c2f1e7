//! The reference application: a response to `POST /ml/suggestions` from heuristics over the store's transactions.
//!
//! It is there so that a newcomer sees the whole; a user of Perch puts their own application in its place. The
//! heuristics ([`heuristics`]) are a pure function; [`backend`] is the server. The wire format is the scorer's
//! ([`shadow_scorer::suggestions`]).

pub mod backend;
pub mod heuristics;

pub use heuristics::suggest;
