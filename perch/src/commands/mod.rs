//! One module a command: options, what it asks for, and how it says what it found.

pub(crate) mod analyse;
pub(crate) mod args;
pub(crate) mod canary;
pub(crate) mod cohort;
pub(crate) mod disagreements;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod gateways;
pub(crate) mod guard;
pub(crate) mod model;
pub(crate) mod operator;
pub(crate) mod prometheus;
pub(crate) mod ramp;
pub(crate) mod replay;
pub(crate) mod rollback;
pub(crate) mod scorer;
pub(crate) mod status;
pub(crate) mod terminal;
