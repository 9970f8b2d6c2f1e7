//! The module in a faked Envoy ([`fake_envoy`]): the promises of the filter, which its own tests share, and those of
//! this module: no hook's failure costs a client anything, hooks within hooks are harmless, nothing is left when all is
//! destroyed.

// A test's own mistake may end the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub(crate) mod fake_envoy;
mod faults;
mod lifetime;

#[path = "../../../tests/promises/cases.rs"]
mod cases;
#[path = "../../../tests/promises/gateway.rs"]
mod gateway;
#[path = "../../../tests/promises/messages.rs"]
mod messages;
#[path = "../../../tests/promises/plan.rs"]
mod plan;

type Gateway = gateway::Gateway<fake_envoy::NativeModule>;
