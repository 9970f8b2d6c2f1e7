//! What a user did before: labels of their earlier transactions, for this merchant and overall.
//!
//! **Point in time.** For a transaction at time `t`, a history holds the labels of the same user's transactions that
//! happened before `t` and whose label was known by `t`; the newest [`MOST_PAST`] of them. A label given or changed
//! later does not count, so a row computed in training equals the row computed when the transaction was served.
//!
//! Two spellings are one merchant if the first two words of their normalised names are the same.

use super::layout::{self, Dense, LABELS};
use super::text::Normalised;
use crate::labels::SPENDING_LABELS;

/// Most earlier transactions that a history counts, the newest first: bounds the work for users with long histories.
pub const MOST_PAST: usize = 200;

/// Counts of earlier labels, in the order of [`SPENDING_LABELS`]; other labels count in the totals only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    merchant: [u16; LABELS],
    overall: [u16; LABELS],
    merchant_total: u16,
    overall_total: u16,
}

/// One earlier transaction with its label.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The merchant's normalised name.
    pub merchant: &'a Normalised,
    /// The label that was known.
    pub label: &'a str,
}

impl History {
    /// The history of a transaction at the merchant `here`; `past` comes newest first and is read up to [`MOST_PAST`].
    pub fn of<'a>(here: &Normalised, past: impl IntoIterator<Item = Past<'a>>) -> Self {
        let mut history = Self::default();
        for earlier in past.into_iter().take(MOST_PAST) {
            let same = earlier.merchant.key() == here.key();
            let label = SPENDING_LABELS.iter().position(|label| *label == earlier.label);
            history.count(label, same);
        }
        history
    }

    fn count(&mut self, label: Option<usize>, same_merchant: bool) {
        self.overall_total = self.overall_total.saturating_add(1);
        add(&mut self.overall, label);
        if same_merchant {
            self.merchant_total = self.merchant_total.saturating_add(1);
            add(&mut self.merchant, label);
        }
    }

    /// How many earlier transactions it counts.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.overall_total)
    }

    /// Returns `true` if nothing is known of the user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.overall_total == 0
    }

    pub(super) fn write_dense(&self, dense: &mut Dense<'_>) {
        dense.set(layout::PAST_HERE, f32::from(self.merchant_total));
        dense.set(layout::PAST, f32::from(self.overall_total));
        write_shares(&self.merchant, self.merchant_total, layout::SHARE_HERE, dense);
        write_shares(&self.overall, self.overall_total, layout::SHARE, dense);
    }
}

fn add(counts: &mut [u16; LABELS], label: Option<usize>) {
    if let Some(count) = label.and_then(|label| counts.get_mut(label)) {
        *count = count.saturating_add(1);
    }
}

fn write_shares(counts: &[u16; LABELS], total: u16, from: usize, dense: &mut Dense<'_>) {
    if total == 0 {
        return;
    }
    for (place, count) in (from..).zip(counts) {
        dense.set(place, f32::from(*count) / f32::from(total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(merchant: &str, past: &[(&str, &str)]) -> History {
        let names: Vec<Normalised> = past.iter().map(|(merchant, _)| Normalised::merchant(merchant)).collect();
        let past = names.iter().zip(past).map(|(merchant, (_, label))| Past { merchant, label });
        History::of(&Normalised::merchant(merchant), past)
    }

    #[test]
    fn the_same_merchant_is_found_under_another_store_number() {
        let past = [("TARGET T-0999 BOISE ID", "groceries"), ("SHELL OIL 57", "transportation.fuel")];
        let history = of("TARGET T-0123 BOISE ID", &past);
        assert_eq!((history.merchant_total, history.overall_total), (1, 2));
        assert_eq!(history.merchant[0], 1, "groceries stands first");
    }

    #[test]
    fn only_the_newest_count() {
        assert_eq!(of("A B", &[("A B", "coffee"); MOST_PAST + 50]).len(), MOST_PAST);
    }

    #[test]
    fn a_label_outside_the_set_counts_in_the_totals_only() {
        let history = of("A B", &[("A B", "beekeeping")]);
        assert_eq!((history.merchant_total, history.merchant.iter().sum::<u16>()), (1, 0));
    }
}
