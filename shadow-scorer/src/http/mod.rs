//! The scorer's HTTP side.
