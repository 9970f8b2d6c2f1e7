//! The training distribution, as a model's manifest holds it, and the bins that both sides are counted in.

use serde_json::{Map, Value};

use super::layout::{Feature, Layout, Mass};
use crate::Schema;

/// The name under which the predicted labels are reported.
pub const LABEL: &str = "label";
/// A share never counts as less: an empty bin would be infinitely far away.
const LEAST: f64 = 1e-4;

/// One feature's bins: `edges.len() + 1` of them and one for missing values; a value belongs to the first bin whose
/// edge is not below it.
#[derive(Debug, Clone, PartialEq)]
struct FeatureBins {
    feature: Feature,
    edges: Vec<f32>,
    /// Training's share of each bin, the missing last.
    shares: Vec<f64>,
}

/// Training's share of each block of a [`Mass`].
#[derive(Debug, Clone, PartialEq)]
struct MassBlocks {
    mass: Mass,
    shares: Vec<f64>,
}

impl Mass {
    fn count(&self, row: &[f32], counts: &mut [u32]) {
        let mass = row.get(self.from..self.from + self.width).unwrap_or_default();
        for (block, mass) in mass.chunks(self.width.checked_div(self.blocks).unwrap_or(1).max(1)).enumerate() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count, far below 2^24
            add(counts, block, (mass.iter().sum::<f32>() * self.unit) as u32);
        }
    }
}

impl FeatureBins {
    fn bin(&self, value: f32) -> usize {
        if value.is_nan() { self.edges.len() + 1 } else { self.edges.partition_point(|edge| *edge < value) }
    }
}

/// What training looked like.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Numbers in a row.
    pub(super) width: usize,
    features: Vec<FeatureBins>,
    masses: Vec<MassBlocks>,
    labels: Vec<f64>,
    /// Share of items on which the baseline, where it has an opinion, and the model agreed.
    pub(super) agreement: Option<f64>,
}

/// A manifest without a training distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest's drift.{0} is missing or of another shape: drift is not watched; train again with this program")]
pub struct NoReference(String);

impl Reference {
    /// From a manifest's `drift` and `metrics.agreement_with_rules`, for rows of `schema`; `classes` is how many the
    /// model has.
    ///
    /// # Errors
    /// Names the part that is missing.
    pub fn of(schema: &Schema, drift: &Value, agreement: Option<f64>, classes: usize) -> Result<Self, NoReference> {
        let missing = |part: &str| NoReference(part.to_owned());
        let Layout { features, masses } = &schema.drift;
        let given = drift.get("features").and_then(Value::as_object).ok_or_else(|| missing("features"))?;
        let list = |pointer: &str, len: usize| {
            drift.pointer(pointer).and_then(numbers).filter(|list| list.len() == len).ok_or_else(|| missing(pointer))
        };
        let features = features.iter().map(|feature| bins(given, feature).ok_or_else(|| missing(&feature.name)));
        let features = features.collect::<Result<_, _>>()?;
        let blocks = |mass: &Mass| Ok(MassBlocks { mass: *mass, shares: list(mass.pointer, mass.blocks)? });
        let masses = masses.iter().map(blocks).collect::<Result<_, _>>()?;
        Ok(Self { width: schema.width, features, masses, labels: list("/labels", classes)?, agreement })
    }

    /// How many counts there are in all.
    pub(super) fn bins(&self) -> usize {
        let features = self.features.iter().map(|bins| &bins.shares);
        features.chain(self.masses.iter().map(|blocks| &blocks.shares)).chain([&self.labels]).map(Vec::len).sum()
    }

    /// Counts a row and its predicted class.
    pub(super) fn count(&self, row: &[f32], label: usize, counts: &mut [u32]) {
        let mut rest = counts;
        for bins in &self.features {
            let Some((mine, others)) = rest.split_at_mut_checked(bins.shares.len()) else { return };
            add(mine, bins.bin(row.get(bins.feature.place).copied().unwrap_or(f32::NAN)), 1);
            rest = others;
        }
        for MassBlocks { mass, .. } in &self.masses {
            let Some((mine, others)) = rest.split_at_mut_checked(mass.blocks) else { return };
            mass.count(row, mine);
            rest = others;
        }
        add(rest, label, 1);
    }

    /// PSI of each feature; that of a weekly one only of a whole week.
    pub(super) fn compare(&self, counts: &[u64], whole_week: bool) -> Vec<(String, f64)> {
        let mut found = Vec::with_capacity(self.features.len() + self.masses.len() + 1);
        let mut rest = counts;
        let mut take = |shares: &[f64]| {
            let (mine, others) = rest.split_at_checked(shares.len())?;
            rest = others;
            psi(shares, mine)
        };
        for FeatureBins { feature, shares, .. } in &self.features {
            let psi = take(shares);
            if whole_week || !feature.weekly {
                found.extend(psi.map(|psi| (feature.name.clone(), psi)));
            }
        }
        for MassBlocks { mass, shares } in &self.masses {
            found.extend(take(shares).map(|psi| (mass.name.to_owned(), psi)));
        }
        found.extend(take(&self.labels).map(|psi| (LABEL.to_owned(), psi)));
        found
    }
}

fn bins(given: &Map<String, Value>, feature: &Feature) -> Option<FeatureBins> {
    let of = given.get(&feature.name)?;
    #[allow(clippy::cast_possible_truncation)] // they were f32 values in training
    let edges: Vec<f32> = numbers(of.get("edges")?)?.into_iter().map(|edge| edge as f32).collect();
    let mut shares = numbers(of.get("shares")?)?;
    shares.push(of.get("missing")?.as_f64()?);
    let ordered = edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let fits = ordered && shares.len() == edges.len() + 2;
    fits.then(|| FeatureBins { feature: feature.clone(), edges, shares })
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

    fn schema() -> Schema {
        let feature = |name: &str, place, weekly| Feature { name: name.into(), place, weekly };
        let mass = |name, pointer, from| Mass { name, pointer, from, width: 64, blocks: 32, unit: 1.0 };
        let features = vec![feature("amount", 0, false), feature("dow", 1, true)];
        let masses = vec![mass("merchant_gram", "/grams/merchant", 2), mass("memo_gram", "/grams/memo", 66)];
        Schema { width: 130, drift: Layout { features, masses }, ..Schema::default() }
    }

    fn manifest() -> Value {
        let feature = json!({"edges": [0.5, 2.0], "shares": [0.2, 0.3, 0.4], "missing": 0.1});
        let blocks = vec![1.0 / 32.0; 32];
        json!({
            "rows": 10, "features": {"amount": feature, "dow": feature}, "labels": [0.5, 0.5],
            "grams": {"merchant": blocks, "memo": blocks},
        })
    }

    #[test]
    fn a_manifest_is_read_and_values_fall_where_training_put_them() {
        let reference = Reference::of(&schema(), &manifest(), Some(0.9), 2).unwrap();
        let feature = &reference.features[0];
        let bins = [f32::NEG_INFINITY, 0.5, 0.6, 2.0, 2.1, f32::NAN].map(|value| feature.bin(value));
        assert_eq!(bins, [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn what_is_missing_in_a_manifest_is_named() {
        let mut without = manifest();
        without["features"]["amount"] = json!({"edges": [1.0], "shares": [1.0], "missing": 0.0});
        let error = |drift: &Value, classes| Reference::of(&schema(), drift, None, classes).unwrap_err().to_string();
        assert!(error(&without, 2).contains("drift.amount"));
        assert!(error(&manifest(), 3).contains("labels"));
        assert!(error(&json!({}), 3).contains("features"));
        without = manifest();
        without["grams"] = json!({"merchant": [1.0]});
        assert!(error(&without, 2).contains("grams/merchant"));
    }
}
