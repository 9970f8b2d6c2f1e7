//! From a row's sums to its label and scores.
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
//! onnxruntime 1.32 agrees but for LOGISTIC when no weight is negative, where it leaves the logistic out. In every other
//! case each class has its own sum, and the first of the largest sums names the label, before any transform.

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

    /// Writes the scores of one row and gives the index of its label.
    pub(crate) fn finish(self, sums: &[f64], scores: &mut [f32]) -> u32 {
        match self {
            Outcome::PerClass(transform) => {
                let winner = first_largest(sums);
                match transform {
                    PostTransform::None => write(scores, sums.iter().copied()),
                    PostTransform::Logistic => write(scores, sums.iter().map(|&s| logistic(s))),
                    PostTransform::Softmax => softmax(sums, scores),
                }
                winner
            }
            Outcome::Margin { class } => {
                let sum = at(sums, class);
                write(scores, [-sum, sum].into_iter());
                u32::from(sum > 0.0)
            }
            Outcome::Logistic { class } => {
                let sum = at(sums, class);
                write(scores, [logistic(-sum), logistic(sum)].into_iter());
                u32::from(sum > 0.0)
            }
            Outcome::Probability { class } => {
                let sum = at(sums, class);
                write(scores, [1.0 - sum, sum].into_iter());
                u32::from(sum > 0.5)
            }
        }
    }
}

fn unequal_base(got: usize, expected: usize) -> Malformed {
    Malformed::UnequalLengths { attribute: "base_values", got, reference: "the list of class labels", expected }
}

fn at(sums: &[f64], class: usize) -> f64 {
    sums.get(class).copied().unwrap_or(0.0)
}

fn write(scores: &mut [f32], values: impl Iterator<Item = f64>) {
    scores.iter_mut().zip(values).for_each(|(score, value)| *score = value as f32);
}

fn first_largest(sums: &[f64]) -> u32 {
    let mut best = (0, f64::NEG_INFINITY);
    for (class, &sum) in (0..).zip(sums) {
        if sum > best.1 {
            best = (class, sum);
        }
    }
    best.0
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(sums: &[f64], scores: &mut [f32]) {
    let largest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = sums.iter().map(|&s| (s - largest).exp()).sum();
    write(scores, sums.iter().map(|&s| (s - largest).exp() / total));
}
