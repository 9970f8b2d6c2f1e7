//! The training distribution, as a model's manifest holds it, and the bins that both sides are counted in.

use serde_json::{Map, Value};

use super::LABEL;
use crate::features::SCHEMA;
#[cfg(test)]
use crate::features::WIDTH;
use crate::features::history::LABELS;
use crate::features::schema::{DENSE_WIDTH, Group, MEMO_BINS, MERCHANT_BINS, SHARE, SHARE_HERE};

/// Blocks over which an n-gram's mass is counted.
const BLOCKS: usize = 32;
/// A share never counts as less: an empty bin would be infinitely far away.
const LEAST: f64 = 1e-4;

/// One feature's bins: `edges.len() + 1` of them and one for missing values; a value belongs to the first bin whose edge
/// is not below it.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    name: String,
    /// Its place in a row.
    place: usize,
    edges: Vec<f32>,
    /// Training's share of each bin, the missing last.
    shares: Vec<f64>,
    /// Only a whole week is a sample of it.
    weekly: bool,
}

/// Features that count as one, by where their mass lies.
#[derive(Debug, Clone, Copy)]
struct Together {
    name: &'static str,
    /// In the manifest's `drift`.
    pointer: &'static str,
    from: usize,
    width: usize,
    blocks: usize,
    /// What a mass of 1 counts: n-grams are whole numbers, shares are not.
    unit: f32,
}

const TOGETHER: [Together; 4] = [
    Together {
        name: "merchant_gram",
        pointer: "/grams/merchant",
        from: DENSE_WIDTH,
        width: MERCHANT_BINS,
        blocks: BLOCKS,
        unit: 1.0,
    },
    Together {
        name: "memo_gram",
        pointer: "/grams/memo",
        from: DENSE_WIDTH + MERCHANT_BINS,
        width: MEMO_BINS,
        blocks: BLOCKS,
        unit: 1.0,
    },
    Together {
        name: "share_here",
        pointer: "/history/share_here",
        from: SHARE_HERE,
        width: LABELS,
        blocks: LABELS,
        unit: 1_000.0,
    },
    Together { name: "share", pointer: "/history/share", from: SHARE, width: LABELS, blocks: LABELS, unit: 1_000.0 },
];

impl Together {
    fn count(&self, row: &[f32], counts: &mut [u32]) {
        let mass = row.get(self.from..self.from + self.width).unwrap_or_default();
        for (block, mass) in mass.chunks((self.width / self.blocks).max(1)).enumerate() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count, far below 2^24
            add(counts, block, (mass.iter().sum::<f32>() * self.unit) as u32);
        }
    }
}

impl Named {
    fn bin(&self, value: f32) -> usize {
        if value.is_nan() { self.edges.len() + 1 } else { self.edges.partition_point(|edge| *edge < value) }
    }
}

/// What training looked like.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    named: Vec<Named>,
    /// Training's shares of mass, in the order of [`TOGETHER`].
    together: [Vec<f64>; TOGETHER.len()],
    labels: Vec<f64>,
    /// Share of items on which the rules, where they have an opinion, and the model agreed.
    pub(super) agreement: Option<f64>,
}

/// A manifest without a training distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest's drift.{0} is missing or of another shape: drift is not watched; train anew with this program")]
pub struct NoReference(String);

impl Reference {
    /// From a manifest's `drift` and `metrics.agreement_with_rules`; `classes` is how many the model has.
    ///
    /// # Errors
    /// Names the part that is missing.
    pub fn of(drift: &Value, agreement: Option<f64>, classes: usize) -> Result<Self, NoReference> {
        let missing = |part: &str| NoReference(part.to_owned());
        let features = drift.get("features").and_then(Value::as_object).ok_or_else(|| missing("features"))?;
        let named = watched()
            .map(|(place, name, weekly)| named(features, place, name, weekly).ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?;
        let list = |pointer: &str, len: usize| {
            drift.pointer(pointer).and_then(numbers).filter(|list| list.len() == len).ok_or_else(|| missing(pointer))
        };
        let mut together = [const { Vec::new() }; TOGETHER.len()];
        for (shares, of) in together.iter_mut().zip(&TOGETHER) {
            *shares = list(of.pointer, of.blocks)?;
        }
        Ok(Self { named, together, labels: list("/labels", classes)?, agreement })
    }

    /// How many counts there are in all.
    pub(super) fn bins(&self) -> usize {
        let named = self.named.iter().map(|named| &named.shares);
        named.chain(&self.together).chain([&self.labels]).map(Vec::len).sum()
    }

    /// Counts a row and its predicted class.
    pub(super) fn count(&self, row: &[f32], label: usize, counts: &mut [u32]) {
        let mut rest = counts;
        for named in &self.named {
            let Some((mine, others)) = rest.split_at_mut_checked(named.shares.len()) else { return };
            add(mine, named.bin(row.get(named.place).copied().unwrap_or(f32::NAN)), 1);
            rest = others;
        }
        for of in &TOGETHER {
            let Some((mine, others)) = rest.split_at_mut_checked(of.blocks) else { return };
            of.count(row, mine);
            rest = others;
        }
        add(rest, label, 1);
    }

    /// PSI of each feature; hour and weekday only of a whole week.
    pub(super) fn compare(&self, counts: &[u64], whole_week: bool) -> Vec<(String, f64)> {
        let mut found = Vec::with_capacity(self.named.len() + TOGETHER.len() + 1);
        let mut rest = counts;
        let mut take = |shares: &[f64]| {
            let (mine, others) = rest.split_at_checked(shares.len())?;
            rest = others;
            psi(shares, mine)
        };
        for named in &self.named {
            let psi = take(&named.shares);
            if whole_week || !named.weekly {
                found.extend(psi.map(|psi| (named.name.clone(), psi)));
            }
        }
        for (of, shares) in TOGETHER.iter().zip(&self.together) {
            found.extend(take(shares).map(|psi| (of.name.to_owned(), psi)));
        }
        found.extend(take(&self.labels).map(|psi| (LABEL.to_owned(), psi)));
        found
    }

    /// The distribution of `rows` themselves, as training would write it.
    #[cfg(test)]
    pub(super) fn from_rows(
        rows: &[f32],
        labels: impl IntoIterator<Item = usize>,
        classes: usize,
        agreement: Option<f64>,
    ) -> Self {
        let named = watched().map(|(place, name, weekly)| {
            let mut values: Vec<f32> =
                rows.chunks_exact(WIDTH).map(|row| row[place]).filter(|value| !value.is_nan()).collect();
            values.sort_unstable_by(f32::total_cmp);
            let mut edges: Vec<f32> =
                (1..10).filter_map(|tenth| values.get(values.len() * tenth / 10).copied()).collect();
            edges.dedup();
            Named { name: name.to_owned(), place, shares: vec![0.0; edges.len() + 2], edges, weekly }
        });
        let mut reference = Self {
            named: named.collect(),
            together: TOGETHER.map(|of| vec![0.0; of.blocks]),
            labels: vec![0.0; classes],
            agreement,
        };
        let mut counts = vec![0_u32; reference.bins()];
        for (row, label) in rows.chunks_exact(WIDTH).zip(labels) {
            reference.count(row, label, &mut counts);
        }
        let mut rest = counts.as_slice();
        let parts = reference.named.iter_mut().map(|named| &mut named.shares);
        for shares in parts.chain(&mut reference.together).chain([&mut reference.labels]) {
            let (mine, others) = rest.split_at(shares.len());
            let sum: u32 = mine.iter().sum();
            *shares = mine.iter().map(|count| f64::from(*count) / f64::from(sum.max(1))).collect();
            rest = others;
        }
        reference
    }
}

/// The features that are watched one by one: place, name, and whether only a whole week is a sample. A history's length
/// grows by itself with every user that stays, and with it every single share's spread.
fn watched() -> impl Iterator<Item = (usize, &'static str, bool)> {
    let dense = SCHEMA.features().iter().take(DENSE_WIDTH).enumerate();
    dense
        .filter(|(_, feature)| feature.group != Group::History)
        .map(|(place, feature)| (place, feature.name.as_str(), feature.group == Group::Time))
}

fn named(features: &Map<String, Value>, place: usize, name: &str, weekly: bool) -> Option<Named> {
    let of = features.get(name)?;
    #[allow(clippy::cast_possible_truncation)] // they were f32 values in training
    let edges: Vec<f32> = numbers(of.get("edges")?)?.into_iter().map(|edge| edge as f32).collect();
    let mut shares = numbers(of.get("shares")?)?;
    shares.push(of.get("missing")?.as_f64()?);
    let ordered = edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    (ordered && shares.len() == edges.len() + 2).then(|| Named { name: name.to_owned(), place, edges, shares, weekly })
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

fn add(counts: &mut [u32], place: usize, more: u32) {
    if let Some(count) = counts.get_mut(place) {
        *count = count.saturating_add(more);
    }
}

/// `None` where nothing was counted, on either side.
fn psi(then: &[f64], now: &[u64]) -> Option<f64> {
    let total: u64 = now.iter().sum();
    if total == 0 || then.iter().sum::<f64>() <= 0.0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // counts of a week
    let shares = now.iter().map(|count| (*count as f64 / total as f64).max(LEAST));
    Some(
        then.iter().map(|share| share.max(LEAST)).zip(shares).map(|(then, now)| (now - then) * (now / then).ln()).sum(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn psi_is_that_of_the_textbook() {
        assert_eq!(psi(&[0.5, 0.5], &[70, 70]), Some(0.0));
        let moved = psi(&[0.5, 0.5], &[80, 20]).unwrap();
        let wanted = 0.3 * (1.6_f64).ln() - 0.3 * (0.4_f64).ln();
        assert!((moved - wanted).abs() < 1e-12);
        assert_eq!(psi(&[0.5, 0.5], &[0, 0]), None);
        assert!(psi(&[1.0, 0.0], &[0, 10]).unwrap().is_finite());
    }

    fn manifest() -> Value {
        let features: Map<String, Value> = watched()
            .map(|(_, name, _)| {
                (name.to_owned(), json!({"edges": [0.5, 2.0], "shares": [0.2, 0.3, 0.4], "missing": 0.1}))
            })
            .collect();
        let (blocks, labels) = (vec![1.0 / 32.0; BLOCKS], vec![1.0 / 21.0; LABELS]);
        json!({
            "rows": 10, "features": features, "labels": [0.5, 0.5],
            "grams": {"merchant": blocks, "memo": blocks}, "history": {"share_here": labels, "share": labels},
        })
    }

    #[test]
    fn a_manifest_is_read_and_values_fall_where_training_put_them() {
        let reference = Reference::of(&manifest(), Some(0.9), 2).unwrap();
        let named = &reference.named[0];
        let bins = [f32::NEG_INFINITY, 0.5, 0.6, 2.0, 2.1, f32::NAN].map(|value| named.bin(value));
        assert_eq!(bins, [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn what_is_missing_in_a_manifest_is_named() {
        let mut without = manifest();
        without["features"]["amount"] = json!({"edges": [1.0], "shares": [1.0], "missing": 0.0});
        assert!(Reference::of(&without, None, 2).unwrap_err().to_string().contains("drift.amount"));
        assert!(Reference::of(&manifest(), None, 3).unwrap_err().to_string().contains("labels"));
        assert!(Reference::of(&json!({}), None, 3).unwrap_err().to_string().contains("features"));
    }
}
