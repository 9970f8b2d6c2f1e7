//! The reference rules backend.

fn main() {}
