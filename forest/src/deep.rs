//! Trees of any size: walked eight at a time, branch-free.
//!
//! Siblings stand next to each other, so a step is `first child + goes right`. A leaf is its own first child and never
//! goes right: a walk makes as many steps as the deepest of its eight trees needs and has no condition on the way.

use crate::columns::{Columns, Cuts};
use crate::tree::{Node, Tree};
use crate::votes::{Leaf, Votes};

/// Trees that are walked together.
const LANES: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    first_child: u32,
    /// Twice the column, plus one where a missing value goes right.
    rank: u32,
    cut: u32,
}

/// A forest of trees of any size.
#[derive(Debug, Clone)]
pub(crate) struct Deep {
    steps: Vec<Step>,
    /// For each step that is a leaf, its number among its tree's leaves.
    leaves: Vec<u32>,
    /// Root and depth of each tree, in the order of summing.
    roots: Vec<(u32, u32)>,
    votes: Votes,
}

/// Buffers of an evaluation, kept between rows.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// For each column the rank where a missing value goes left, and where it goes right.
    ranks: Vec<u32>,
    ends: Vec<u32>,
}

impl Deep {
    pub(crate) fn plant(trees: &[Tree], cuts: &Cuts) -> Deep {
        let (mut steps, mut leaves, mut roots) = (Vec::new(), Vec::new(), Vec::with_capacity(trees.len()));
        let mut votes: Vec<Vec<Leaf<'_>>> = Vec::with_capacity(trees.len());
        for tree in trees {
            let root = steps.len() as u32;
            roots.push((root, tree.depth as u32));
            let mut votes_of_tree = Vec::new();
            // Nodes in the order in which they are laid out, level by level with left before right.
            let mut order: Vec<usize> = vec![0];
            let mut read = 0;
            while let Some(node) = order.get(read).and_then(|&at| tree.nodes.get(at)) {
                leaves.push(votes_of_tree.len() as u32);
                let branch = match node {
                    Node::Branch { test, when_true, when_false } => {
                        cuts.of(test).map(|cut| (cut, *when_true, *when_false))
                    }
                    Node::Leaf { votes } => {
                        votes_of_tree.push(votes.as_slice());
                        None
                    }
                };
                steps.push(match branch {
                    Some((cut, when_true, when_false)) => {
                        let first_child = root + order.len() as u32;
                        order.extend(if cut.true_is_right { [when_false, when_true] } else { [when_true, when_false] });
                        Step { first_child, rank: 2 * cut.column + u32::from(cut.missing_is_right), cut: cut.cut }
                    }
                    None => Step { first_child: root + read as u32, rank: 0, cut: u32::MAX },
                });
                read += 1;
            }
            votes.push(votes_of_tree);
        }
        Deep { steps, leaves, roots, votes: Votes::of(&votes) }
    }

    /// Adds the votes of each tree for a row to the sums.
    pub(crate) fn add(&self, columns: &Columns, row: &[f32], scratch: &mut Scratch, sums: &mut [f64]) {
        scratch.ranks.clear();
        scratch.ranks.extend(columns.ranks(row).flat_map(|rank| rank.map_or([0, u32::MAX], |rank| [rank, rank])));
        scratch.ends.clear();
        for group in self.roots.chunks(LANES) {
            let mut at = [0_u32; LANES];
            at.iter_mut().zip(group).for_each(|(at, &(root, _))| *at = root);
            let depth = group.iter().map(|&(_, depth)| depth).max().unwrap_or(0);
            for _ in 0..depth {
                for at in &mut at {
                    let step = self.steps.get(*at as usize).copied().unwrap_or_default();
                    let rank = scratch.ranks.get(step.rank as usize).copied().unwrap_or(0);
                    *at = step.first_child + u32::from(rank > step.cut);
                }
            }
            scratch.ends.extend(at.iter().take(group.len()));
        }
        let leaves = scratch.ends.iter().map(|&end| self.leaves.get(end as usize).map_or(0, |&leaf| leaf as usize));
        self.votes.add(leaves, sums);
    }
}
