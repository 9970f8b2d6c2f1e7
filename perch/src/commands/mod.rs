//! One module a command: options, what it asks for, and how it says what it found.

pub(crate) mod canary;
pub(crate) mod gateways;
pub(crate) mod guard;
pub(crate) mod operator;
pub(crate) mod ramp;
pub(crate) mod rollback;
pub(crate) mod status;
