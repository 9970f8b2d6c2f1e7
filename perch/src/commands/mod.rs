//! The commands: one module for each, with its options, its requests and its output. Options that several share are in
//! [`gateways`], [`operator`], [`prometheus`] and [`scorer`].

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
