//! The filter configuration: JSON as it is written ([`raw`]), and as it is used ([`checked`]). What passes the check
//! needs no further thought; what does not is refused with the field, the rule and the mend in one sentence, never with
//! the salt in it.

pub mod checked;
mod members;
pub mod raw;
mod rules;

pub use checked::{Config, ConfigError, Limits, Module, Scorer};
