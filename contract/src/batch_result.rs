//! The batch result: the scorer's response to a batch, counts that the filter adds to Envoy's stats.
//!
//! It is JSON, since there is only one per batch and it is read where speed does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{Agree, Arm, NotCompared};

/// Version of this shape; a filter takes no other.
pub const VERSION: u8 = 2;

/// Counts over one batch. Each item of each response that a client was given is in exactly one of `agree_true`,
/// `agree_false`, `not_compared` and `abstained`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResult {
    /// [`VERSION`].
    pub version: u8,
    /// Observations of the batch, all of which are in the counts below.
    pub observations: u32,
    /// Items on which baseline and candidate agree.
    pub agree_true: u32,
    /// Items on which they differ.
    pub agree_false: u32,
    /// Items that could not be compared, by reason; their sum is `agree="None"`.
    pub not_compared: BTreeMap<NotCompared, u32>,
    /// Items on which either abstains, by the arm that the client was given.
    pub abstained: BTreeMap<Arm, u32>,
    /// Observations of users in the baseline arm for which there was a candidate response.
    pub available: u32,
    /// Observations of users in the baseline arm for which there was none.
    pub unavailable: u32,
    /// Items by the label that the client was given, and by agreement.
    pub labels: Vec<LabelCount>,
}

/// One cell of agreement by label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label that the client was given.
    pub label: String,
    /// Agreement with the other response.
    pub agree: Agree,
    /// Number of items.
    pub items: u32,
}

impl BatchResult {
    /// Number of items that could not be compared.
    #[must_use]
    pub fn not_compared_total(&self) -> u64 {
        self.not_compared.values().map(|items| u64::from(*items)).sum()
    }

    /// Number of all items.
    #[must_use]
    pub fn items(&self) -> u64 {
        let abstained: u64 = self.abstained.values().map(|items| u64::from(*items)).sum();
        u64::from(self.agree_true) + u64::from(self.agree_false) + self.not_compared_total() + abstained
    }

    /// Returns `true` if the labels together do not have more items of an `agree` value than the batch has.
    #[must_use]
    pub fn labels_fit(&self) -> bool {
        let labelled = |agree: Agree| -> u64 {
            self.labels.iter().filter(|cell| cell.agree == agree).map(|cell| u64::from(cell.items)).sum()
        };
        labelled(Agree::True) <= u64::from(self.agree_true)
            && labelled(Agree::False) <= u64::from(self.agree_false)
            && labelled(Agree::None) <= self.not_compared_total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_not_count_more_than_there_is() {
        let cell = |agree, items| LabelCount { label: "coffee".into(), agree, items };
        let mut result = BatchResult { agree_true: 2, labels: vec![cell(Agree::True, 2)], ..BatchResult::default() };
        assert!(result.labels_fit());
        result.labels.push(cell(Agree::False, 1));
        assert!(!result.labels_fit());
    }

    #[test]
    fn sums_do_not_wrap() {
        let result = BatchResult { agree_true: u32::MAX, agree_false: u32::MAX, ..BatchResult::default() };
        assert_eq!(result.items(), 2 * u64::from(u32::MAX));
    }
}
