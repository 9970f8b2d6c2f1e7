//! The program as an operator runs it, against scripted servers: its output, its requests, its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod analyse;
mod cohort;
mod doctor;
mod guard;
mod model;
mod no_room;
mod replay;
mod status;

mod run;
mod server;
