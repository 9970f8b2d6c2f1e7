//! The versioned feature schema and the one function that computes a row.
