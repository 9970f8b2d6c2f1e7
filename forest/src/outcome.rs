//! From rows' sums to their labels and scores.
//!
//! Two labels with weights for one class only is ONNX's way to write a binary model with a single sum s. Runtimes
//! differ there; here it means:
//!
//! | post_transform | scores | second label wins when |
//! |---|---|---|
//! | LOGISTIC | 1 − σ(s), σ(s) | s > 0 |
//! | NONE, no weight negative (s is a probability) | 1 − s, s | s > ½ |
//! | NONE otherwise (s is a margin) | −s, s | s > 0 |
//!
//! In every other case each class has its own sum, and the first of the largest sums names the label, before any transform.
//!
//! onnxruntime 1.32 differs from this (seen on the cases `spec-one-sum-*` and `spec-two-classes-*` that
//! `examples/suggestions/tests/scorer/corpus.rs` reads):
//! - With weights for the first label only, its scores are these. Under LOGISTIC, when no weight is negative, it names the
//!   second label where the raw sum, not its logistic, is above ½.
//! - With weights for the second label only, it leaves the first score at 0, which LOGISTIC makes ½. It then passes over a
//!   single base value, and with two of them its scores do not follow the sum. The scores here are the table's all the same.
//! - Of two labels that both have weights it names the second wherever that one's raw sum is above 0, also where the first
//!   one's is larger.

use crate::exponential::exponential;
use crate::wide::wide;
use crate::{Ensemble, Malformed, PostTransform};

/// How sums become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// One sum per class.
    PerClass(PostTransform),
    /// One sum for two labels, its position among the sums.
    Margin { class: usize },
    /// The same, the sum through the logistic function.
    Logistic { class: usize },
    /// The same, the sum being a probability already.
    Probability { class: usize },
}

impl Outcome {
    /// What the ensemble asks for, and where each class's sum starts.
    pub(crate) fn of(ensemble: &Ensemble) -> Result<(Outcome, Vec<f64>), Malformed> {
        let classes = ensemble.labels.len();
        let base: Vec<f64> = ensemble.base_values.iter().map(|&v| f64::from(v)).collect();
        let first = ensemble.class_ids.first().copied().unwrap_or(0);
        let one_sum = classes == 2 && ensemble.class_ids.iter().all(|&class| class == first);
        if one_sum {
            let class = usize::from(first == 1);
            let outcome = match ensemble.post_transform {
                PostTransform::Softmax => return Err(Malformed::SoftmaxOfOne),
                PostTransform::Logistic => Outcome::Logistic { class },
                PostTransform::None if ensemble.class_weights.iter().all(|&w| w >= 0.0) => {
                    Outcome::Probability { class }
                }
                PostTransform::None => Outcome::Margin { class },
            };
            // With two base values the second belongs to the label that the sum speaks for.
            let start = match base.len() {
                0 => 0.0,
                1 | 2 => base.last().copied().unwrap_or(0.0),
                got => return Err(unequal_base(got, classes)),
            };
            return Ok((outcome, vec![start; 2]));
        }
        match base.len() {
            0 => Ok((Outcome::PerClass(ensemble.post_transform), vec![0.0; classes])),
            got if got == classes => Ok((Outcome::PerClass(ensemble.post_transform), base)),
            got => Err(unequal_base(got, classes)),
        }
    }
}

wide! {
    /// From the sums of some rows, class by class, to their scores, row by row, and the index of each row's label. The
    /// sums are used up.
    pub(crate) fn finish<const ROWS: usize>(
        outcome: Outcome,
        sums: &mut [[f64; ROWS]],
        scores: &mut [f32],
        winners: &mut [u32],
    ) {
        // What a score is a part of.
        let mut wholes = [1.0; ROWS];
        let labels = match outcome {
            Outcome::PerClass(transform) => {
                let (largest, labels) = first_largest(sums);
                match transform {
                    PostTransform::None => {}
                    PostTransform::Logistic => sums.as_flattened_mut().iter_mut().for_each(|sum| *sum = logistic(*sum)),
                    PostTransform::Softmax => wholes = exponentials(sums, &largest),
                }
                labels
            }
            Outcome::Margin { class } => split(sums, class, |sum| [-sum, sum], 0.0),
            Outcome::Logistic { class } => split(sums, class, |sum| [logistic(-sum), logistic(sum)], 0.0),
            Outcome::Probability { class } => split(sums, class, |sum| [1.0 - sum, sum], 0.5),
        };
        winners.iter_mut().zip(labels).for_each(|(winner, label)| *winner = label);
        let classes = sums.len().max(1);
        for (class, sums) in sums.iter().enumerate() {
            let scores = scores.iter_mut().skip(class).step_by(classes);
            scores.zip(sums.iter().zip(&wholes)).for_each(|(score, (sum, whole))| *score = (sum / whole) as f32);
        }
    }
}

/// Each row's largest sum, and the first class that has it.
#[inline(always)]
fn first_largest<const ROWS: usize>(sums: &[[f64; ROWS]]) -> ([f64; ROWS], [u32; ROWS]) {
    let (mut largest, mut labels) = ([f64::NEG_INFINITY; ROWS], [0; ROWS]);
    for (class, sums) in (0..).zip(sums) {
        for ((largest, label), &sum) in largest.iter_mut().zip(&mut labels).zip(sums) {
            let is_larger = sum > *largest;
            *largest = if is_larger { sum } else { *largest };
            *label = if is_larger { class } else { *label };
        }
    }
    (largest, labels)
}

/// Makes of each sum its exponential, as a multiple of the largest's, and gives each row's total of them.
#[inline(always)]
fn exponentials<const ROWS: usize>(sums: &mut [[f64; ROWS]], largest: &[f64; ROWS]) -> [f64; ROWS] {
    let mut totals = [0.0; ROWS];
    for sums in sums {
        for ((sum, total), largest) in sums.iter_mut().zip(&mut totals).zip(largest) {
            *sum = exponential(*sum - largest);
            *total += *sum;
        }
    }
    totals
}

#[inline(always)]
fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exponential(-x))
}

/// Two labels' scores from the one sum that stands in the place of `class`; the second label wins above `least`.
#[inline(always)]
fn split<const ROWS: usize>(
    sums: &mut [[f64; ROWS]],
    class: usize,
    scores: impl Fn(f64) -> [f64; 2],
    least: f64,
) -> [u32; ROWS] {
    let ones = sums.get(class).copied().unwrap_or([0.0; ROWS]);
    if let [first, second] = sums {
        for ((first, second), &one) in first.iter_mut().zip(second).zip(&ones) {
            [*first, *second] = scores(one);
        }
    }
    ones.map(|one| u32::from(one > least))
}

fn unequal_base(got: usize, expected: usize) -> Malformed {
    Malformed::UnequalLengths { attribute: "base_values", got, reference: "the list of class labels", expected }
}
