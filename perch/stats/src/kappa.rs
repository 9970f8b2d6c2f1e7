//! Cohen's kappa: agreement beyond what the two arms' label frequencies alone would give.
//!
//! `κ = (pₒ − pₑ)/(1 − pₑ)` with pₒ the fraction of equal labels and pₑ what independent arms with these marginals
//! would have. Its variance for independent items is that of Fleiss, Cohen & Everitt, "Large sample standard errors of
//! kappa and weighted kappa", Psychological Bulletin 72 (1969), equation (13). Items of one user are not independent,
//! so the caller multiplies it by the design effect that was measured for agreement itself (Kish, "Survey sampling",
//! 1965, section 8.2).

use std::collections::BTreeMap;

/// Kappa of a table of labels, with its variance for independent items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kappa {
    /// −1..=1.
    pub value: f64,
    /// The variance of `value` if items were independent.
    pub variance: f64,
}

/// Kappa of `cells`: (the baseline's label, the candidate's label, items). `None` without items, or if both arms only
/// ever give one label, which leaves nothing beyond chance.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn of<'a>(cells: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Option<Kappa> {
    let mut table: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let (mut rows, mut columns): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) = Default::default();
    let mut all = 0.0;
    for (rule, model, items) in cells {
        let items = items as f64;
        *table.entry((rule, model)).or_default() += items;
        *rows.entry(rule).or_default() += items;
        *columns.entry(model).or_default() += items;
        all += items;
    }
    if all <= 0.0 {
        return None;
    }
    let row = |label: &str| rows.get(label).copied().unwrap_or(0.0) / all;
    let column = |label: &str| columns.get(label).copied().unwrap_or(0.0) / all;
    let seen: f64 = table.iter().filter(|((a, b), _)| a == b).map(|(_, items)| items / all).sum();
    let chance: f64 = rows.keys().map(|label| row(label) * column(label)).sum();
    let beyond = 1.0 - chance;
    if beyond <= 0.0 {
        return None;
    }
    let mut spread = 0.0;
    for ((rule, model), items) in &table {
        let share = items / all;
        spread += if rule == model {
            share * (beyond - (column(rule) + row(rule)) * (1.0 - seen)).powi(2)
        } else {
            (1.0 - seen).powi(2) * share * (column(rule) + row(model)).powi(2)
        };
    }
    spread -= (seen * chance - 2.0 * chance + seen).powi(2);
    Some(Kappa { value: (seen - chance) / beyond, variance: (spread / (all * beyond.powi(4))).max(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kappa(cells: &[(&str, &str, u64)]) -> Option<Kappa> {
        of(cells.iter().copied())
    }

    #[test]
    fn the_textbook_table() {
        // Both say yes 20 times, both no 15 times, of 50: agreement 0.7, by chance 0.5.
        let cells = [("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15)];
        assert!((kappa(&cells).unwrap().value - 0.4).abs() < 1e-12);
    }

    #[test]
    fn what_leaves_nothing_beyond_chance_has_no_kappa() {
        assert_eq!(kappa(&[]), None);
        assert_eq!(kappa(&[("a", "a", 9)]), None);
        assert_eq!(kappa(&[("a", "a", 5), ("b", "b", 5)]).unwrap(), Kappa { value: 1.0, variance: 0.0 });
    }

    proptest! {
        // The formula is the delta method's: Σ p·g² − (Σ p·g)² over n, g being the derivatives of kappa by the cells.
        #[test]
        fn the_variance_is_that_of_the_delta_method(counts in proptest::collection::vec(5_u64..200, 9)) {
            let labels = ["a", "b", "c"];
            let cells = |counts: &[f64]| -> Vec<(&str, &str, f64)> {
                counts.iter().enumerate().map(|(at, n)| (labels[at / 3], labels[at % 3], *n)).collect()
            };
            let value = |shares: &[f64]| {
                let cells = cells(shares);
                let seen: f64 = cells.iter().filter(|(a, b, _)| a == b).map(|(_, _, p)| p).sum();
                let sum = |label, of_row: bool| -> f64 {
                    cells.iter().filter(|(a, b, _)| if of_row { *a == label } else { *b == label }).map(|(_, _, p)| p).sum()
                };
                let chance: f64 = labels.iter().map(|label| sum(*label, true) * sum(*label, false)).sum();
                (seen - chance) / (1.0 - chance)
            };
            let all: u64 = counts.iter().sum();
            let shares: Vec<f64> = counts.iter().map(|n| *n as f64 / all as f64).collect();
            let slope = |at: usize| {
                let (mut up, mut down) = (shares.clone(), shares.clone());
                up[at] += 1e-6;
                down[at] -= 1e-6;
                (value(&up) - value(&down)) / 2e-6
            };
            let slopes: Vec<f64> = (0..9).map(slope).collect();
            let mean: f64 = shares.iter().zip(&slopes).map(|(p, g)| p * g).sum();
            let squares: f64 = shares.iter().zip(&slopes).map(|(p, g)| p * g * g).sum();
            let expected = (squares - mean * mean) / all as f64;
            let cells: Vec<(&str, &str, u64)> =
                counts.iter().enumerate().map(|(at, n)| (labels[at / 3], labels[at % 3], *n)).collect();
            let seen = kappa(&cells).unwrap();
            prop_assert!((seen.variance - expected).abs() < 1e-3 * expected + 1e-9, "{seen:?} {expected}");
        }
    }
}
