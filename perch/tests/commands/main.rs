//! The program as an operator runs it, against servers that a test scripts: what it prints, what it asks, how it exits.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod analyse;
mod cohort;
mod doctor;
mod full_disk;
mod guard;
mod model;
mod replay;
mod status;

mod run;
mod server;
