//! The shadow-scorer.

fn main() {}
