//! A checked ensemble, ready to be evaluated.

use std::cell::RefCell;

use crate::block::{self, Blocks};
use crate::columns::Columns;
use crate::deep::{self, Deep};
use crate::ensemble::{Ensemble, Labels};
use crate::error::{Malformed, WrongShape};
use crate::outcome::{self, Outcome};
use crate::sieve::{MAX_TREES, Mask, Sieve};
use crate::tree;

/// A tree ensemble that classifies rows of `f32`.
///
/// A row's result depends on the row alone, bit for bit: neither on its batch, nor on its place there.
/// Each class's sum starts at its base value and the trees' weights are added in ascending order of the trees' ids, in
/// `f64`; label and post transform are taken from those sums, and only the scores are rounded to `f32`.
///
/// NaN is a missing value and takes the branch that the node's `nodes_missing_value_tracks_true` selects, in any mode.
#[derive(Debug, Clone)]
pub struct Forest {
    columns: Columns,
    trees: Trees,
    /// For batches, where the trees allow it.
    blocks: Option<Blocks>,
    outcome: Outcome,
    base: Vec<f64>,
    labels: Labels,
    count: usize,
}

/// The trees, in the form that their size allows.
#[derive(Debug, Clone)]
enum Trees {
    /// At most 32 leaves each.
    Small(Sieve<u32>),
    /// At most 64.
    Middle(Sieve<u64>),
    Deep(Deep),
}

/// Rows of a full block, and of a small one for what remains of a batch.
const BLOCK: usize = 64;
const SMALL_BLOCK: usize = 16;
/// From this many rows on, a block is faster than its rows one by one, even if it is partly empty.
const WORTH_A_BLOCK: usize = 24;
const WORTH_A_SMALL_BLOCK: usize = 10;

/// Buffers of an evaluation, kept per thread, each allocated when it is first needed.
#[derive(Debug, Default)]
struct Scratch {
    small: Option<Box<[u32; MAX_TREES]>>,
    middle: Option<Box<[u64; MAX_TREES]>>,
    deep: deep::Scratch,
    block: Option<block::Scratch<BLOCK>>,
    small_block: Option<block::Scratch<SMALL_BLOCK>>,
    sums: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One mark per tree.
fn marks<M: Mask>(slot: &mut Option<Box<[M; MAX_TREES]>>) -> &mut [M; MAX_TREES] {
    slot.get_or_insert_with(|| {
        let marks = vec![M::ALL; MAX_TREES].into_boxed_slice();
        marks.try_into().unwrap_or_else(|_| Box::new([M::ALL; MAX_TREES]))
    })
}

impl Forest {
    /// Checks an ensemble and lays it out for evaluation.
    ///
    /// # Errors
    /// [`Malformed`] with the tree and node concerned, for anything that cannot be evaluated as ONNX defines it.
    pub fn new(ensemble: &Ensemble) -> Result<Forest, Malformed> {
        let trees = tree::check(ensemble)?;
        let (outcome, base) = Outcome::of(ensemble)?;
        let (columns, cuts) = Columns::gather(&trees);
        let blocks = Blocks::plant(&trees, &cuts);
        let count = trees.len();
        let trees = if Sieve::<u32>::fits(&trees) {
            Trees::Small(Sieve::plant(&trees, &columns, &cuts))
        } else if Sieve::<u64>::fits(&trees) {
            Trees::Middle(Sieve::plant(&trees, &columns, &cuts))
        } else {
            Trees::Deep(Deep::plant(&trees, &cuts))
        };
        Ok(Forest { columns, trees, blocks, outcome, base, labels: ensemble.labels.clone(), count })
    }

    /// The number of features that a row must have: one more than the last that a tree reads.
    #[must_use]
    pub fn features(&self) -> usize {
        self.columns.features()
    }

    /// The number of scores of a row: one per label.
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
        self.count
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
        SCRATCH.with_borrow_mut(|scratch| {
            let mut batch = Batch { rows, width, scores, winners };
            while !batch.winners.is_empty() {
                match &self.blocks {
                    Some(blocks) if batch.winners.len() >= WORTH_A_BLOCK => {
                        self.predict_block(blocks, batch.take(BLOCK), scratch.block.get_or_insert_default());
                    }
                    Some(blocks) if batch.winners.len() >= WORTH_A_SMALL_BLOCK => {
                        let small = batch.take(SMALL_BLOCK);
                        self.predict_block(blocks, small, scratch.small_block.get_or_insert_default());
                    }
                    _ => self.predict_row(batch.take(1), scratch),
                }
            }
        });
        Ok(())
    }

    fn predict_row(&self, row: Batch<'_>, scratch: &mut Scratch) {
        let sums = &mut scratch.sums;
        sums.clear();
        sums.extend_from_slice(&self.base);
        match &self.trees {
            Trees::Small(sieve) => sieve.add(&self.columns, row.rows, marks(&mut scratch.small), sums),
            Trees::Middle(sieve) => sieve.add(&self.columns, row.rows, marks(&mut scratch.middle), sums),
            Trees::Deep(deep) => deep.add(&self.columns, row.rows, &mut scratch.deep, sums),
        }
        outcome::finish(self.outcome, sums.as_chunks_mut::<1>().0, row.scores, row.winners);
    }

    fn predict_block<const ROWS: usize>(&self, blocks: &Blocks, rows: Batch<'_>, scratch: &mut block::Scratch<ROWS>) {
        let sums = blocks.sum_up(&self.columns, rows.rows, rows.width, &self.base, scratch);
        outcome::finish(self.outcome, sums, rows.scores, rows.winners);
    }
}

/// Rows still to be evaluated, and the buffers for their results.
struct Batch<'a> {
    rows: &'a [f32],
    width: usize,
    scores: &'a mut [f32],
    winners: &'a mut [u32],
}

impl<'a> Batch<'a> {
    /// Splits off the first rows, at most `rows`.
    fn take(&mut self, rows: usize) -> Batch<'a> {
        let all = self.winners.len();
        let rows = rows.min(all);
        let classes = self.scores.len() / all.max(1);
        let (first, rest) = self.rows.split_at(rows * self.width);
        self.rows = rest;
        let (scores, rest) = std::mem::take(&mut self.scores).split_at_mut(rows * classes);
        self.scores = rest;
        let (winners, rest) = std::mem::take(&mut self.winners).split_at_mut(rows);
        self.winners = rest;
        Batch { rows: first, width: self.width, scores, winners }
    }
}
