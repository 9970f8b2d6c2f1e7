//! From a transaction to the row of numbers that the model sees.
//!
//! [`encode`] is the only place where features are computed: the export for training writes what it returns, and
//! serving hands what it returns to the model, so the two cannot differ. A test exports rows and finds them equal, bit
//! by bit, to those computed when serving.
//!
//! A row has [`WIDTH`] numbers: [`layout::DENSE_WIDTH`] named ones, then counts of hashed character n-grams of the merchant
//! ([`layout::MERCHANT_BINS`]) and of the memo ([`layout::MEMO_BINS`]). What each holds, its range and what a missing
//! value becomes is in [`schema`]; the schema has a version and a hash, and a model trained on another is refused.
//!
//! **Point in time.** A user's history holds only labels that were known before the transaction happened
//! (see [`History`]), so a row never changes after the fact and training never sees the future.
//!
//! **Cost.** Nothing is allocated, unless a letter bears more than four marks: text is normalised into a fixed buffer on
//! the stack, n-grams are hashed as it is read.

mod drift;
mod encode;
pub mod history;
pub mod layout;
mod ngrams;
pub(crate) mod request;
pub mod schema;
pub mod text;
pub mod transaction;

pub use drift::layout as drift_layout;
pub use encode::{WrongWidth, encode};
pub use history::History;
pub use layout::WIDTH;
pub use schema::{SCHEMA, Schema};
pub use transaction::Transaction;
