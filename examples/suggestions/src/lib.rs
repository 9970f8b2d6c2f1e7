//! The demo application: suggestions of spending labels for card transactions.
//!
//! It stands for the application of a user of Perch. The scorer knows nothing of transactions or spending labels: it is
//! given [`application()`], and the program `shadow-scorer` of this crate is the scorer with that application linked in.
//!
//! | module | what it holds |
//! |---|---|
//! | [`labels`] | the closed set of spending labels |
//! | [`transactions`] | transactions with their user's history, in the scorer's store |
//! | [`features`] | the versioned feature schema and the one function that computes a row |
//! | [`export`] | rows for training |
//! | [`rules`] | the rules and the backend that serves them |
//! | [`generator`] | users and transactions from a fixed seed |

mod application;
pub mod export;
pub mod features;
pub mod generator;
pub mod labels;
mod npy;
pub mod rules;
pub mod transactions;

pub use application::{application, create_store, open_store};
