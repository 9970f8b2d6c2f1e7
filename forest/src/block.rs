//! Many rows at once: their ranks are adjacent bytes, and a branch decides for all rows with one comparison.
//!
//! Per tree a block of rows goes through every branch, children first, and carries the number of the leaf that each row
//! would end in below that branch: `if rank > cut { right } else { left }`, sixteen rows or more per instruction. What
//! the root carries are the rows' leaves. That looks at all branches of a tree where a row passes few of them, and is
//! still several times faster per row; it needs enough rows to fill the block.
//!
//! What is compared must fit a byte: a column's ranks less a multiple of 255, cut off at 0 and 255, a missing value at
//! one end or the other. So a column with more than 255 cuts, or with missing values that go both ways, becomes
//! several.

use std::collections::BTreeMap;

use crate::columns::{Columns, Cut, Cuts};
use crate::tree::{Node, Tree};
use crate::wide::wide;

/// Cuts that one byte can distinguish.
const CUTS: u32 = 255;
/// Places for what leaves and branches carry: a leaf's is its number, a branch's lies in the upper half.
const SLOTS: usize = 256;
const LEAVES: usize = SLOTS / 2;

/// Ranks of a column as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes {
    column: u32,
    /// The rank that becomes 0.
    base: u32,
    missing_is_right: bool,
}

#[derive(Debug, Clone, Copy)]
struct Branch {
    /// Position among the columns of bytes.
    bytes: u16,
    cut: u8,
    /// Slots of the children.
    left: u8,
    right: u8,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    /// Position after the tree's last branch.
    end: u32,
    /// Position of its first weight.
    weights: u32,
    class: u32,
    /// Slot of the root.
    root: u8,
}

/// A forest of trees of up to 128 leaves, each leaf with one weight, each tree for one class.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    bytes: Vec<Bytes>,
    heads: Vec<Head>,
    /// Tree by tree, children before their parents.
    branches: Vec<Branch>,
    /// Tree by tree, and then so many that a byte never leads out of them.
    weights: Vec<f32>,
}

/// Buffers of an evaluation.
#[derive(Debug)]
pub(crate) struct Scratch<const ROWS: usize> {
    /// Column by column.
    ranks: Vec<[u32; ROWS]>,
    bytes: Vec<[u8; ROWS]>,
    slots: Box<[[u8; ROWS]; SLOTS]>,
    /// Class by class.
    sums: Vec<[f64; ROWS]>,
}

impl<const ROWS: usize> Default for Scratch<ROWS> {
    fn default() -> Self {
        let mut slots = Box::new([[0; ROWS]; SLOTS]);
        for (number, slot) in (0..).zip(slots.iter_mut().take(LEAVES)) {
            *slot = [number; ROWS];
        }
        Scratch { ranks: Vec::new(), bytes: Vec::new(), slots, sums: Vec::new() }
    }
}

/// A rank that no value has.
const MISSING: u32 = u32::MAX;

impl Blocks {
    /// None if a tree is too large, a leaf has more or less than one weight, or the columns are too many.
    pub(crate) fn plant(trees: &[Tree], cuts: &Cuts) -> Option<Blocks> {
        let mut all = Blocks { bytes: Vec::new(), heads: Vec::new(), branches: Vec::new(), weights: Vec::new() };
        let mut columns: BTreeMap<Bytes, u16> = BTreeMap::new();
        for tree in trees {
            all.add(tree, cuts, &mut columns)?;
        }
        all.weights.resize(all.weights.len() + SLOTS, 0.0);
        Some(all)
    }

    fn add(&mut self, tree: &Tree, cuts: &Cuts, columns: &mut BTreeMap<Bytes, u16>) -> Option<()> {
        let weights = self.weights.len() as u32;
        let mut class = None;
        let (mut leaves, mut branches) = (0_usize, tree.nodes.len() / 2);
        let mut slots = Vec::with_capacity(tree.nodes.len());
        for node in &tree.nodes {
            match node {
                Node::Branch { .. } => {
                    branches = branches.checked_sub(1)?;
                    slots.push(u8::try_from(LEAVES + branches).ok()?);
                }
                Node::Leaf { votes } => {
                    let &[(of, weight)] = votes.as_slice() else { return None };
                    if *class.get_or_insert(of) != of {
                        return None;
                    }
                    self.weights.push(weight);
                    slots.push(u8::try_from(leaves).ok().filter(|_| leaves < LEAVES)?);
                    leaves += 1;
                }
            }
        }
        for node in tree.nodes.iter().rev() {
            if let Node::Branch { test, when_true, when_false } = node {
                let Cut { column, cut, missing_is_right, true_is_right } = cuts.of(test)?;
                let (left, right) = if true_is_right { (when_false, when_true) } else { (when_true, when_false) };
                let bytes = Bytes { column, base: cut / CUTS * CUTS, missing_is_right };
                let position = match columns.get(&bytes) {
                    Some(&known) => known,
                    None => {
                        let new = u16::try_from(columns.len()).ok()?;
                        columns.insert(bytes, new);
                        self.bytes.push(bytes);
                        new
                    }
                };
                let (left, right) = (*slots.get(*left)?, *slots.get(*right)?);
                self.branches.push(Branch { bytes: position, cut: (cut % CUTS) as u8, left, right });
            }
        }
        self.heads.push(Head { end: self.branches.len() as u32, weights, class: class?, root: *slots.first()? });
        Some(())
    }

    /// Sums up the votes of the trees for each row, starting at `base`, class by class. `rows` may be fewer than
    /// `ROWS`.
    pub(crate) fn sum_up<'s, const ROWS: usize>(
        &self,
        columns: &Columns,
        rows: &[f32],
        width: usize,
        base: &[f64],
        scratch: &'s mut Scratch<ROWS>,
    ) -> &'s mut [[f64; ROWS]] {
        scratch.sums.clear();
        scratch.sums.extend(base.iter().map(|&base| [base; ROWS]));
        scratch.ranks.resize(columns.cuts().len(), [0; ROWS]);
        scratch.bytes.resize(self.bytes.len(), [0; ROWS]);
        rank(self, columns, rows, width, scratch);
        decide(self, scratch);
        &mut scratch.sums
    }
}

wide! {
    /// Ranks all rows' values, column by column: a column's thresholds then stay in the nearest cache, which is too
    /// small for those of all columns.
    fn rank<const ROWS: usize>(
        blocks: &Blocks,
        columns: &Columns,
        rows: &[f32],
        width: usize,
        scratch: &mut Scratch<ROWS>,
    ) {
        for (places, column) in scratch.ranks.iter_mut().zip(columns.each()) {
            columns.ranks_in(column, (rows, width), MISSING, places);
        }
        for (bytes, column) in scratch.bytes.iter_mut().zip(&blocks.bytes) {
            let Some(ranks) = scratch.ranks.get(column.column as usize) else { continue };
            let missing = if column.missing_is_right { u8::MAX } else { 0 };
            for (byte, &rank) in bytes.iter_mut().zip(ranks) {
                let near = rank.saturating_sub(column.base).min(CUTS) as u8;
                *byte = if rank == MISSING { missing } else { near };
            }
        }
    }
}

wide! {
    /// Sends all rows through all trees.
    fn decide<const ROWS: usize>(blocks: &Blocks, scratch: &mut Scratch<ROWS>) {
        let Scratch { bytes, slots, sums, .. } = scratch;
        let mut rest = blocks.branches.as_slice();
        let mut begin = 0;
        for head in &blocks.heads {
            let branches;
            (branches, rest) = rest.split_at_checked((head.end - begin) as usize).unwrap_or_default();
            begin = head.end;
            for (slot, branch) in (LEAVES..).zip(branches) {
                let children = (slots.get(usize::from(branch.left)), slots.get(usize::from(branch.right)));
                let (Some(left), Some(right)) = children else { continue };
                let Some(ranks) = bytes.get(usize::from(branch.bytes)) else { continue };
                let chosen = choose(ranks, branch.cut, left, right);
                if let Some(slot) = slots.get_mut(slot) {
                    *slot = chosen;
                }
            }
            let weights = blocks.weights.get(head.weights as usize..);
            let weights = weights.and_then(|weights| weights.first_chunk::<SLOTS>());
            let (Some(weights), Some(leaves)) = (weights, slots.get(usize::from(head.root))) else { continue };
            let Some(sums) = sums.get_mut(head.class as usize) else { continue };
            // In two loops, of which the compiler makes vectors: weights looked up, then summed up.
            let mut votes = [0.0; ROWS];
            for (vote, &leaf) in votes.iter_mut().zip(leaves) {
                *vote = weights.get(usize::from(leaf)).copied().unwrap_or(0.0_f32);
            }
            for (sum, vote) in sums.iter_mut().zip(votes) {
                *sum += f64::from(vote);
            }
        }
    }
}

/// For each row the leaf number that the chosen child carries. Masks instead of a condition: from these the compiler
/// makes vector instructions, from a condition a branch per row.
#[inline(always)]
fn choose<const ROWS: usize>(ranks: &[u8; ROWS], cut: u8, left: &[u8; ROWS], right: &[u8; ROWS]) -> [u8; ROWS] {
    let mut chosen = [0; ROWS];
    for (((chosen, &rank), &left), &right) in chosen.iter_mut().zip(ranks).zip(left).zip(right) {
        let is_right = 0_u8.wrapping_sub(u8::from(rank > cut));
        *chosen = (right & is_right) | (left & !is_right);
    }
    chosen
}
