//! The feature schema as a manifest states it.

use scorer_features::Schema;
use serde::{Deserialize, Serialize};

/// Which features a model was trained on; must equal what the application computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSchema {
    /// The schema's version.
    pub version: u32,
    /// Hash over every feature's name, type and range.
    pub hash: String,
    /// Values in one row.
    pub width: usize,
}

impl From<&Schema> for FeatureSchema {
    fn from(schema: &Schema) -> Self {
        Self { version: schema.version, hash: schema.hash.clone(), width: schema.width }
    }
}
