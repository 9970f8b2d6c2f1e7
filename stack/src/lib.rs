//! Runs the whole of Perch on one machine: renders the configurations, starts, watches and stops the parts.
//!
//! ```no_run
//! # async fn example() -> Result<(), stack::Error> {
//! use contract::share::Share;
//!
//! let stack = stack::Stack::builder()?.share(Share::percent(10)).concurrency(2).start().await?;
//! stack.set_share(Share::percent(50)).await?;
//! let agreed = stack.scrape().await?.sum("lm_suggest_compare_total", &[("agree", "True")]);
//! # Ok(()) }
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`builder`] | what a stack is to consist of |
//! | [`stack`] | starting, waiting, killing, stopping; `asking` and `configuring` hold the rest of its methods |
//! | [`parts`] | the command line of each part |
//! | [`render`], [`plugin`] | Envoy's configuration, the filter's configuration and the salt |
//! | [`validate`] | every configuration judged by its own program |
//! | [`process`], [`ports`], [`place`] | one process; which ports; where files lie |
//! | [`secret`] | a secret that is made once and kept |

mod asking;
pub mod builder;
mod configuring;
pub mod error;
pub mod parts;
pub mod place;
pub mod plugin;
pub mod ports;
pub mod process;
pub mod render;
pub mod secret;
pub mod stack;
mod template;
pub mod validate;

pub use builder::Builder;
pub use clients::{Admin, Scrape};
pub use contract::ports::Part;
pub use error::Error;
pub use rustix::process::Signal;
pub use stack::Stack;
