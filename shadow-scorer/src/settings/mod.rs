//! Flags and environment, raw and checked.
