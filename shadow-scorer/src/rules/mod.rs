//! The reference rules backend.
