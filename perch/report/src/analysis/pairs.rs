//! Items by pair of labels: the label of the baseline and that of the candidate.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use contract::analysis::Pair;

/// Items by the label of the baseline and that of the candidate, in both arms. A label is `None` if an arm gave none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelPairs<'a>(BTreeMap<(Option<&'a str>, Option<&'a str>), u64>);

impl<'a> LabelPairs<'a> {
    /// Sums up `pairs`.
    #[must_use]
    pub fn of(pairs: &'a [Pair]) -> Self {
        let mut items = BTreeMap::new();
        for pair in pairs {
            let count: &mut u64 = items.entry((pair.rule.as_deref(), pair.model.as_deref())).or_default();
            *count = count.saturating_add(pair.items);
        }
        Self(items)
    }

    /// Returns `true` if nothing was compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every pair of labels with its items.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&'a str>, Option<&'a str>, u64)> {
        self.0.iter().map(|((baseline, candidate), items)| (*baseline, *candidate, *items))
    }

    /// Items with these two labels.
    #[must_use]
    pub fn items(&self, baseline: Option<&str>, candidate: Option<&str>) -> u64 {
        self.0.get(&(baseline, candidate)).copied().unwrap_or(0)
    }

    /// Every label, the most frequent first, and the lack of one last.
    #[must_use]
    pub fn labels(&self) -> Vec<Option<&'a str>> {
        let mut counts: BTreeMap<Option<&str>, u64> = BTreeMap::new();
        for (baseline, candidate, items) in self.iter() {
            *counts.entry(baseline).or_default() += items;
            *counts.entry(candidate).or_default() += items;
        }
        let mut labels: Vec<(Option<&str>, u64)> = counts.into_iter().collect();
        labels.sort_by_key(|(label, items)| (label.is_none(), Reverse(*items)));
        labels.into_iter().map(|(label, _)| label).collect()
    }

    /// The pairs on which the arms disagree, the most frequent first.
    #[must_use]
    pub fn disagreements(&self) -> Vec<(&'a str, &'a str, u64)> {
        let both = self.iter().filter_map(|(baseline, candidate, items)| Some((baseline?, candidate?, items)));
        let mut found: Vec<_> = both.filter(|(baseline, candidate, _)| baseline != candidate).collect();
        found.sort_by_key(|(_, _, items)| Reverse(*items));
        found
    }
}
