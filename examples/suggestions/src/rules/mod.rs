//! The reference application: an answer to `POST /ml/suggestions` from heuristics over the store's transactions.
//!
//! It is there so that a newcomer sees the whole; a user of Perch puts their own application in its place. The
//! heuristics ([`heuristics`]) are a pure function; [`request`] and [`answer`] are the wire shapes, which the scorer's
//! live answers share; [`backend`] is the server.

pub mod answer;
pub mod backend;
pub mod heuristics;
pub mod request;

pub use answer::{Candidate, Item, Suggestions};
pub use heuristics::suggest;
pub use request::{BadRequest, SuggestRequest};

/// Candidates below this confidence are left out of an answer.
pub const MIN_CONFIDENCE: f64 = 0.35;
