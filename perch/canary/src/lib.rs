//! The canary share as an operator handles it: the effect of a change, and how it is written so that it lasts.
//!
//! A share lives in two of Envoy's runtime layers. The admin layer takes effect on the next request and is lost when
//! Envoy restarts; the disk layer below it survives. Both are written, the disk first, so that a gateway that restarts
//! between the two comes up with the new share and not with an old one.

pub mod change;
pub mod cohort;
pub mod configuration;
mod copy;
pub mod disk;
pub mod identity;
mod layer;
