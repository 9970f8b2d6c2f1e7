//! Macro F1 of predictions against the labels of feedback.

use std::collections::BTreeMap;

use serde::Serialize;

/// How good predictions are, over the labels that users gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct F1 {
    /// Mean of the labels' F1, 0.0..=1.0.
    #[serde(rename = "f1_macro")]
    pub macro_average: f64,
    /// Transactions evaluated.
    pub rows: u64,
}

#[derive(Default)]
struct Counts {
    correct: u64,
    true_rows: u64,
    predicted_rows: u64,
}

impl F1 {
    /// Evaluates pairs of (truth, prediction); no prediction is never correct. `None` without pairs.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Option<Self> {
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut rows = 0;
        for (truth, predicted) in pairs {
            rows += 1;
            counts.entry(truth).or_default().true_rows += 1;
            if let Some(predicted) = predicted {
                let of = counts.entry(predicted).or_default();
                of.predicted_rows += 1;
                of.correct += u64::from(predicted == truth);
            }
        }
        // F1 = 2·correct / (true + predicted); labels that users never gave do not count.
        #[allow(clippy::cast_precision_loss)] // at most some thousands
        let f1s: Vec<f64> = counts
            .values()
            .filter(|of| of.true_rows > 0)
            .map(|of| 2.0 * of.correct as f64 / (of.true_rows + of.predicted_rows) as f64)
            .collect();
        #[allow(clippy::cast_precision_loss)]
        (rows > 0).then(|| Self { macro_average: f1s.iter().sum::<f64>() / f1s.len() as f64, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_count_alike_however_rare() {
        let pairs = [("a", Some("a")), ("a", Some("a")), ("a", Some("b")), ("b", Some("b")), ("c", None)];
        // a: 2·2/(3+2) = 0.8, b: 2·1/(1+2) = 2/3, c: 0.
        let f1 = F1::of(pairs).unwrap();
        assert!((f1.macro_average - (0.8 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(f1.rows, 5);
        assert_eq!(F1::of([]), None);
    }

    #[test]
    fn a_label_that_is_only_predicted_does_not_count() {
        assert_eq!(F1::of([("a", Some("a")), ("a", Some("z"))]).unwrap().macro_average, 2.0 * 1.0 / 3.0);
    }
}
