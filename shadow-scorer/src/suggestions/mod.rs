//! The wire format of suggestions, which live responses and the rules backend share.

mod answer;
pub mod request;

pub use answer::{Candidate, Item, Suggestions};
pub use contract::names::UNKNOWN_LABEL;
pub use request::{BadRequest, SuggestRequest};
