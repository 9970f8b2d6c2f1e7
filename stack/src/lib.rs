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
//! | module | what it holds |
//! |---|---|
//! | [`builder`] | the description of a stack |
//! | [`stack`] | starting, waiting, killing, stopping; `accessors` reads a running one |
//! | [`layout`] | a stack on disk: settings, ports, directory, salt; `gateway_config` renders its gateway |
//! | [`launch`] | the command line of each part |
//! | [`render`], [`plugin`] | Envoy's configuration, the filter's configuration and the salt |
//! | [`validate`] | every configuration checked by its own program |
//! | [`process`], [`ports`], [`checkout`] | one process; its ports; paths of files and programs |
//! | [`secret`] | a secret that is made once and kept |

mod accessors;
pub mod builder;
pub mod checkout;
pub mod error;
mod gateway_config;
pub mod launch;
pub mod layout;
mod part;
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
