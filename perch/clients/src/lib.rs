//! Clients of the programs that Perch works with. Each has a deadline, and reads no more than a bound.
//!
//! | module | program |
//! |---|---|
//! | [`admin`] | Envoy's admin interface |
//! | [`prometheus`] | the HTTP API of Prometheus |
//! | [`scorer`] | a shadow-scorer |
//! | [`scrape`] | nothing: it reads the text exposition of Prometheus |
//! | `http`, [`error`] | one exchange over HTTP, and how it can fail |
//! | [`random`], [`mod@checkout`] | random numbers of the kernel, and the checkout that a program belongs to |

pub mod admin;
pub mod checkout;
pub mod error;
mod http;
pub mod prometheus;
pub mod random;
pub mod scorer;
pub mod scrape;

pub use admin::Admin;
pub use checkout::checkout;
pub use error::{ClientError, error_chain};
pub use prometheus::Prometheus;
pub use random::random_hex;
pub use scorer::Scorer;
pub use scrape::{Sample, Scrape};
