//! A checked ensemble, ready to be evaluated.

use crate::columns::Columns;
use crate::deep::{self, Deep};
use crate::outcome::Outcome;
use crate::{Ensemble, Labels, Malformed, WrongShape, tree};

/// A tree ensemble that classifies rows of `f32`.
///
/// A row's answer depends on the row alone, bit for bit: not on the batch that it comes in, nor on its place there.
/// Each class's sum starts at its base value and the trees' weights are added in ascending order of the trees' ids, in
/// `f64`; label and post transform are taken from those sums, and only the scores are rounded to `f32`.
///
/// NaN is a missing value and goes where the node's `nodes_missing_value_tracks_true` says, whatever the mode.
#[derive(Debug, Clone)]
pub struct Forest {
    columns: Columns,
    deep: Deep,
    outcome: Outcome,
    base: Vec<f64>,
    labels: Labels,
    trees: usize,
}

impl Forest {
    /// Checks an ensemble and lays it out for evaluation.
    ///
    /// # Errors
    /// [`Malformed`] with the tree and node concerned, for anything that cannot be evaluated as ONNX defines it.
    pub fn new(ensemble: &Ensemble) -> Result<Forest, Malformed> {
        let trees = tree::check(ensemble)?;
        let (outcome, base) = Outcome::of(ensemble)?;
        let (columns, cuts) = Columns::gather(&trees)?;
        let deep = Deep::plant(&trees, &cuts);
        Ok(Forest { columns, deep, outcome, base, labels: ensemble.labels.clone(), trees: trees.len() })
    }

    /// How many features a row must have at least: one more than the last that a tree reads.
    #[must_use]
    pub fn features(&self) -> usize {
        self.columns.features()
    }

    /// How many scores a row gets: one per label.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// The labels, in the order of the scores.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How many trees there are.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees
    }

    /// Evaluates `rows`, each `width` features wide, into `scores` (row by row, [`Forest::classes`] each) and `winners`
    /// (per row the index of its label).
    ///
    /// # Errors
    /// [`WrongShape`] when rows are too narrow or a buffer does not fit the number of rows.
    pub fn predict(
        &self,
        rows: &[f32],
        width: usize,
        scores: &mut [f32],
        winners: &mut [u32],
    ) -> Result<(), WrongShape> {
        if width < self.features() {
            return Err(WrongShape::TooNarrow { got: width, needed: self.features() });
        }
        let n = winners.len();
        for (what, got, expected) in [("rows", rows.len(), n * width), ("scores", scores.len(), n * self.classes())] {
            if got != expected {
                return Err(WrongShape::Buffer { what, got, expected });
            }
        }
        let mut ranks = Vec::with_capacity(self.columns.len());
        let mut sums = self.base.clone();
        let outputs = scores.chunks_exact_mut(self.classes()).zip(winners);
        for (row, (scores, winner)) in rows.chunks_exact(width.max(1)).zip(outputs) {
            sums.copy_from_slice(&self.base);
            deep::evaluate(&self.deep, &self.columns, row, &mut ranks, &mut sums);
            *winner = self.outcome.finish(&sums, scores);
        }
        Ok(())
    }
}
