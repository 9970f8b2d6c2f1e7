//! The wire format of suggestions, which live responses and the rules backend share.

pub mod request;
mod response;

pub use contract::names::UNKNOWN_LABEL;
pub use request::{BadRequest, SuggestRequest};
pub use response::{Candidate, Item, Suggestions};
