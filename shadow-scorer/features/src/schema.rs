//! The feature schema, as far as the scorer needs it.

use crate::drift::Layout;

/// Which features an application computes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// Its version. Another version means other rows.
    pub version: u32,
    /// SHA-256 in hex over all that decides what a row holds: a change without another version is found out by it.
    pub hash: String,
    /// Numbers in a row.
    pub width: usize,
    /// The features that are compared with the training distribution.
    pub drift: Layout,
}
