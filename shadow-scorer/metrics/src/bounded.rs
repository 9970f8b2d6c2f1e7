//! Label values that come from bodies, kept to a bounded set.
//!
//! The rules are the user's application: what it calls a label is its own affair, and a bug in it must not become a
//! million time series. The first [`Labels::LIMIT`] distinct labels keep their names, later ones are `other`.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use contract::names::OTHER_LABEL;

/// A label longer than this, in bytes, is `other` at once.
const LONGEST: usize = 64;

/// The set of labels that keep their names.
#[derive(Debug, Default)]
pub struct Labels {
    known: RwLock<HashSet<String>>,
}

impl Labels {
    /// How many distinct labels keep their names.
    pub const LIMIT: usize = 64;

    /// `label` itself while there is room, else `other`.
    pub fn of<'a>(&self, label: &'a str) -> &'a str {
        if label.len() > LONGEST {
            return OTHER_LABEL;
        }
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.contains(label) {
                return label;
            }
            if known.len() >= Self::LIMIT {
                return OTHER_LABEL;
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < Self::LIMIT || known.contains(label) {
            known.insert(label.to_owned());
            label
        } else {
            OTHER_LABEL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_labels_ends_in_other_and_the_first_ones_keep_their_names() {
        let labels = Labels::default();
        assert_eq!(labels.of("coffee"), "coffee");
        let distinct: HashSet<String> = (0..10_000).map(|i| labels.of(&format!("l{i}")).to_owned()).collect();
        assert_eq!(distinct.len(), Labels::LIMIT, "63 of them, and other");
        assert_eq!(labels.of("coffee"), "coffee");
        assert_eq!(labels.of(&"x".repeat(65)), OTHER_LABEL);
    }
}
