//! The weights of leaves, and the order in which they are summed.

/// The votes of one leaf: (class, weight), in the order of ONNX's arrays.
pub(crate) type Leaf<'a> = &'a [(u32, f32)];

/// The votes of all leaves, tree by tree. The evaluator that builds them determines the order of a tree's leaves.
#[derive(Debug, Clone)]
pub(crate) enum Votes {
    /// One weight per leaf and one class per tree, as in boosted trees.
    Single {
        /// Each tree's class.
        classes: Vec<u32>,
        /// The weights of each tree's leaves, padded to as many for each tree.
        weights: Vec<f32>,
        /// The number of leaves per tree, with padding.
        stride: usize,
    },
    /// Any number of weights.
    Lists {
        /// Position in `from` of each tree's first leaf.
        trees: Vec<u32>,
        /// Position of each leaf's first vote; its last is the one before the next leaf's first.
        from: Vec<u32>,
        votes: Vec<(u32, f32)>,
    },
}

impl Votes {
    /// Stores the leaves of each tree, trees in the order of summing.
    pub(crate) fn of(trees: &[Vec<Leaf<'_>>]) -> Votes {
        Votes::single(trees).unwrap_or_else(|| Votes::lists(trees))
    }

    /// None if a leaf has more or less than one vote, the leaves of a tree are for different classes, or the trees
    /// differ so much in size that padding would take more room than lists.
    fn single(trees: &[Vec<Leaf<'_>>]) -> Option<Votes> {
        let stride = trees.iter().map(Vec::len).max().unwrap_or(0);
        let leaves: usize = trees.iter().map(Vec::len).sum();
        if stride * trees.len() > 4 * leaves {
            return None;
        }
        let mut classes = Vec::with_capacity(trees.len());
        let mut weights = Vec::with_capacity(stride * trees.len());
        for leaves in trees {
            let &[(class, _)] = *leaves.first()? else { return None };
            classes.push(class);
            for leaf in leaves {
                match leaf {
                    &&[(same, weight)] if same == class => weights.push(weight),
                    _ => return None,
                }
            }
            weights.resize(stride * classes.len(), 0.0);
        }
        Some(Votes::Single { classes, weights, stride })
    }

    fn lists(trees: &[Vec<Leaf<'_>>]) -> Votes {
        let (mut heads, mut from, mut votes) = (Vec::with_capacity(trees.len()), vec![0], Vec::new());
        for leaves in trees {
            heads.push(from.len() as u32 - 1);
            for leaf in leaves {
                votes.extend_from_slice(leaf);
                from.push(votes.len() as u32);
            }
        }
        Votes::Lists { trees: heads, from, votes }
    }

    /// The number of trees.
    pub(crate) fn trees(&self) -> usize {
        match self {
            Votes::Single { classes, .. } => classes.len(),
            Votes::Lists { trees, .. } => trees.len(),
        }
    }

    /// Adds to each class's sum the votes of the leaf that each tree ended in, tree by tree.
    #[inline]
    pub(crate) fn add(&self, leaves: impl Iterator<Item = usize>, sums: &mut [f64]) {
        match self {
            Votes::Single { classes, weights, stride } => {
                for ((&class, weights), leaf) in classes.iter().zip(weights.chunks_exact(*stride)).zip(leaves) {
                    if let (Some(&weight), Some(sum)) = (weights.get(leaf), sums.get_mut(class as usize)) {
                        *sum += f64::from(weight);
                    }
                }
            }
            Votes::Lists { trees, from, votes } => {
                for (&first, leaf) in trees.iter().zip(leaves) {
                    let at = first as usize + leaf;
                    let (Some(&begin), Some(&end)) = (from.get(at), from.get(at + 1)) else { continue };
                    for &(class, weight) in votes.get(begin as usize..end as usize).unwrap_or_default() {
                        if let Some(sum) = sums.get_mut(class as usize) {
                            *sum += f64::from(weight);
                        }
                    }
                }
            }
        }
    }
}
