//! What the scorer answers to a batch: counts that the filter adds to Envoy's stats.
//!
//! JSON, since it is small (one per batch), and read where speed does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{Agree, NotCompared};

/// Version of this shape; a filter takes no other.
pub const VERSION: u8 = 1;

/// Counts over one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResult {
    /// [`VERSION`].
    pub version: u8,
    /// Observations of the batch, all of which are in the counts below.
    pub observations: u32,
    /// Items on which both sides agree.
    pub agree_true: u32,
    /// Items on which they differ.
    pub agree_false: u32,
    /// Items without a verdict, by reason; their sum is `agree="None"`.
    pub none: BTreeMap<NotCompared, u32>,
    /// Rule-arm observations, fallbacks excluded, for which the model was there.
    pub available: u32,
    /// Rule-arm observations, fallbacks excluded, for which it was not.
    pub unavailable: u32,
    /// Items by served label and agreement.
    pub labels: Vec<LabelCount>,
}

/// One cell of agreement by label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label that the client was given.
    pub label: String,
    /// The verdict.
    pub agree: Agree,
    /// How many items.
    pub items: u32,
}

impl BatchResult {
    /// Items without a verdict.
    #[must_use]
    pub fn none_total(&self) -> u32 {
        self.none.values().fold(0, |sum, n| sum.saturating_add(*n))
    }
}
