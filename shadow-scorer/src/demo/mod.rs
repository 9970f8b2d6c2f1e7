//! Demo users and transactions from a fixed seed.
