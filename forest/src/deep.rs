//! Trees of any size: nodes of eight bytes, walked eight trees at a time.
//!
//! Siblings stand next to each other, so a step is `first child + goes right`. A leaf is its own left child and never
//! goes right: a walk makes as many steps as the deepest of its eight trees and asks nothing on the way.

use crate::columns::{Columns, Cuts};
use crate::tree::{Node, Tree};

/// Trees walked side by side.
const LANES: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    first_child: u32,
    column: u16,
    rank: u8,
}

/// The forest in this form.
#[derive(Debug, Clone)]
pub(crate) struct Deep {
    steps: Vec<Step>,
    /// For each step that is a leaf where its votes begin; for each step where those of the one before end.
    votes_from: Vec<u32>,
    /// (class, weight)
    votes: Vec<(u32, f32)>,
    /// Root and depth of each tree, in the order of summing.
    roots: Vec<(u32, u32)>,
}

impl Deep {
    pub(crate) fn plant(trees: &[Tree], cuts: &Cuts) -> Deep {
        let mut deep = Deep { steps: Vec::new(), votes_from: Vec::new(), votes: Vec::new(), roots: Vec::new() };
        for tree in trees {
            let root = deep.steps.len() as u32;
            deep.roots.push((root, tree.depth as u32));
            // Positions of the children in the tree as it is laid out here, where left and right may have changed.
            let mut order = vec![0];
            let mut read = 0;
            while let Some(node) = order.get(read).and_then(|&at: &usize| tree.nodes.get(at)) {
                deep.votes_from.push(deep.votes.len() as u32);
                match node {
                    Node::Branch { test, when_true, when_false } => {
                        let (cut, true_is_right) = cuts.of(test);
                        let first_child = root + order.len() as u32;
                        deep.steps.push(Step { first_child, column: cut.column, rank: cut.rank });
                        let sides = if true_is_right { [*when_false, *when_true] } else { [*when_true, *when_false] };
                        order.extend(sides);
                    }
                    Node::Leaf { votes } => {
                        let itself = root + read as u32;
                        deep.steps.push(Step { first_child: itself, column: 0, rank: u8::MAX });
                        deep.votes.extend(votes);
                    }
                }
                read += 1;
            }
        }
        deep.votes_from.push(deep.votes.len() as u32);
        deep
    }

    /// Adds the votes of every tree to the sums of one row.
    pub(crate) fn add(&self, ranks: &[u8], sums: &mut [f64]) {
        for group in self.roots.chunks(LANES) {
            let mut at = [0_u32; LANES];
            at.iter_mut().zip(group).for_each(|(at, &(root, _))| *at = root);
            let depth = group.iter().map(|&(_, depth)| depth).max().unwrap_or(0);
            for _ in 0..depth {
                for at in &mut at {
                    let step = self.steps.get(*at as usize).copied().unwrap_or_default();
                    let rank = ranks.get(usize::from(step.column)).copied().unwrap_or(0);
                    *at = step.first_child + u32::from(rank > step.rank);
                }
            }
            for &leaf in at.get(..group.len()).unwrap_or_default() {
                let leaf = leaf as usize;
                let votes = match self.votes_from.get(leaf..leaf + 2) {
                    Some(&[from, to]) => self.votes.get(from as usize..to as usize).unwrap_or_default(),
                    _ => &[],
                };
                for &(class, weight) in votes {
                    if let Some(sum) = sums.get_mut(class as usize) {
                        *sum += f64::from(weight);
                    }
                }
            }
        }
    }
}

/// The columns are passed to be ranked by row; this is the whole evaluation of a batch.
pub(crate) fn evaluate(deep: &Deep, columns: &Columns, row: &[f32], ranks: &mut Vec<u8>, sums: &mut [f64]) {
    ranks.clear();
    ranks.extend(columns.ranks(row));
    deep.add(ranks, sums);
}
