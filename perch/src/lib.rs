//! What the command `perch` consists of beside its crates.

pub mod doctor;
