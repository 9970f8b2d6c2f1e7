//! The modules of the command `perch` that are not crates of their own.

pub mod doctor;
