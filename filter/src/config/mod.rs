//! The filter's configuration: parsed, not validated. A configuration that passes the check needs no further check; any
//! other is refused with field, rule and fix in one sentence.
//!
//! | module | what it holds, each importing from those above it only |
//! |---|---|
//! | [`error`] | why a configuration is refused |
//! | `tokens` | the form of names |
//! | [`module`] | the two builds, which differ in one default |
//! | [`raw`] | the document as it is written |
//! | [`effective`] | the configuration in effect |
//! | `rules`, `cohorts` | the rule of each field |
//! | `parse` | from the document to the configuration in effect |

mod cohorts;
pub mod effective;
pub mod error;
pub mod module;
mod parse;
pub mod raw;
mod rules;
mod tokens;

pub use effective::{Config, Limits, MAX_LABELS, Scorer};
pub use error::ConfigError;
pub use module::Module;
