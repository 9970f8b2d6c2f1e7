//! From ONNX's arrays to checked trees.
//!
//! After [`check`] every node of a tree is reached from its root by exactly one path of at most [`MAX_DEPTH`] steps,
//! every number is finite (thresholds may be infinite) and every id is in range, so nothing needs a check later.
//! An ensemble with nodes that no path reaches is refused, not trimmed: no exporter writes one, so it is damaged.

use std::collections::HashMap;

use crate::ensemble::{Ensemble, Mode};
use crate::error::Malformed;

/// Levels of a tree. Trained trees have some tens.
pub(crate) const MAX_DEPTH: usize = 1_000;
/// Nodes of an ensemble, about 250 times those of a large model.
pub(crate) const MAX_NODES: usize = 1 << 24;
/// Classes of an ensemble.
pub(crate) const MAX_CLASSES: usize = 1 << 16;
/// The largest feature index.
pub(crate) const MAX_FEATURE: i64 = (1 << 20) - 1;

/// One comparison, as a node of ONNX makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Test {
    pub(crate) feature: u32,
    pub(crate) mode: Mode,
    pub(crate) value: f32,
    pub(crate) missing_is_true: bool,
}

/// A node, its children as positions in [`Tree::nodes`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Branch {
        test: Test,
        when_true: usize,
        when_false: usize,
    },
    /// What the leaf adds: (class, weight) in the order of the `class_` arrays.
    Leaf {
        votes: Vec<(u32, f32)>,
    },
}

/// A tree: the root is the first node, each child comes after its parent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Steps from the root to the deepest leaf; 0 for a tree that is one leaf.
    pub(crate) depth: usize,
}

/// Checks everything and returns the trees in ascending order of their ids.
pub(crate) fn check(ensemble: &Ensemble) -> Result<Vec<Tree>, Malformed> {
    check_arrays(ensemble)?;
    let mut votes = votes_by_leaf(ensemble)?;
    let mut order: Vec<usize> = (0..ensemble.nodes_treeids.len()).collect();
    order.sort_by_key(|&i| ensemble.nodes_treeids.get(i).copied());
    let mut trees = Vec::new();
    for members in order.chunk_by(|&a, &b| ensemble.nodes_treeids.get(a) == ensemble.nodes_treeids.get(b)) {
        let raw = raw_nodes(ensemble, members)?;
        trees.push(grow(&raw, &mut votes)?);
    }
    // A vote that no leaf claimed names a node that is not a leaf, or does not exist.
    match votes.into_values().map(|vote| vote.index).min() {
        None => Ok(trees),
        Some(index) => Err(Malformed::NotALeaf {
            index,
            tree: ensemble.class_treeids.get(index).copied().unwrap_or_default(),
            node: ensemble.class_nodeids.get(index).copied().unwrap_or_default(),
        }),
    }
}

fn check_arrays(e: &Ensemble) -> Result<(), Malformed> {
    let nodes = e.nodes_nodeids.len();
    let weights = e.class_ids.len();
    let missing = e.nodes_missing_value_tracks_true.len();
    for (attribute, got, reference, expected) in [
        ("nodes_treeids", e.nodes_treeids.len(), "nodes_nodeids", nodes),
        ("nodes_featureids", e.nodes_featureids.len(), "nodes_nodeids", nodes),
        ("nodes_modes", e.nodes_modes.len(), "nodes_nodeids", nodes),
        ("nodes_values", e.nodes_values.len(), "nodes_nodeids", nodes),
        ("nodes_truenodeids", e.nodes_truenodeids.len(), "nodes_nodeids", nodes),
        ("nodes_falsenodeids", e.nodes_falsenodeids.len(), "nodes_nodeids", nodes),
        ("nodes_missing_value_tracks_true", missing, "nodes_nodeids", if missing == 0 { 0 } else { nodes }),
        ("class_treeids", e.class_treeids.len(), "class_ids", weights),
        ("class_nodeids", e.class_nodeids.len(), "class_ids", weights),
        ("class_weights", e.class_weights.len(), "class_ids", weights),
    ] {
        if got != expected {
            return Err(Malformed::UnequalLengths { attribute, got, reference, expected });
        }
    }
    for (attribute, empty) in
        [("nodes_nodeids", nodes == 0), ("class_ids", weights == 0), ("the list of class labels", e.labels.is_empty())]
    {
        if empty {
            return Err(Malformed::Empty { attribute });
        }
    }
    for (what, got, limit) in [
        ("nodes", nodes, MAX_NODES),
        ("leaf weights", weights, MAX_NODES),
        ("class labels", e.labels.len(), MAX_CLASSES),
    ] {
        if got > limit {
            return Err(Malformed::TooMany { what, got, limit });
        }
    }
    for (attribute, values) in [("class_weights", &e.class_weights), ("base_values", &e.base_values)] {
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(Malformed::NotFinite { attribute, index, value });
        }
    }
    Ok(())
}

/// The votes of one leaf, and the position of the first of them in the `class_` arrays.
struct Votes {
    index: usize,
    votes: Vec<(u32, f32)>,
}

fn votes_by_leaf(e: &Ensemble) -> Result<HashMap<(i64, i64), Votes>, Malformed> {
    let mut by_leaf: HashMap<(i64, i64), Votes> = HashMap::new();
    let classes = e.labels.len();
    let leaves = e.class_treeids.iter().zip(&e.class_nodeids);
    for (index, ((leaf, &class), &weight)) in leaves.zip(&e.class_ids).zip(&e.class_weights).enumerate() {
        let id = u32::try_from(class).ok().filter(|&id| (id as usize) < classes);
        let id = id.ok_or(Malformed::ClassOutOfRange { index, class, classes })?;
        let entry = by_leaf.entry((*leaf.0, *leaf.1)).or_insert_with(|| Votes { index, votes: Vec::with_capacity(1) });
        entry.votes.push((id, weight));
    }
    Ok(by_leaf)
}

struct RawNode {
    id: i64,
    tree: i64,
    /// None for a leaf.
    branch: Option<(Test, i64, i64)>,
}

/// The nodes of one tree, each of them checked by itself.
fn raw_nodes(e: &Ensemble, members: &[usize]) -> Result<Vec<RawNode>, Malformed> {
    let mut nodes = Vec::with_capacity(members.len());
    for &i in members {
        // The arrays are equally long, so none of these is ever absent.
        let (Some(&tree), Some(&id), Some(&feature), Some(&mode), Some(&value), Some(&yes), Some(&no)) = (
            e.nodes_treeids.get(i),
            e.nodes_nodeids.get(i),
            e.nodes_featureids.get(i),
            e.nodes_modes.get(i),
            e.nodes_values.get(i),
            e.nodes_truenodeids.get(i),
            e.nodes_falsenodeids.get(i),
        ) else {
            continue;
        };
        let branch = if mode == Mode::Leaf {
            None
        } else {
            if value.is_nan() {
                return Err(Malformed::ThresholdNotANumber { tree, node: id });
            }
            let in_range = u32::try_from(feature).ok().filter(|_| feature <= MAX_FEATURE);
            let feature =
                in_range.ok_or(Malformed::FeatureOutOfRange { tree, node: id, feature, limit: MAX_FEATURE })?;
            let missing_is_true = e.nodes_missing_value_tracks_true.get(i).copied().unwrap_or(false);
            Some((Test { feature, mode, value, missing_is_true }, yes, no))
        };
        nodes.push(RawNode { id, tree, branch });
    }
    Ok(nodes)
}

/// Follows the branches down from the root, level by level, and claims the votes of each leaf on the way.
fn grow(raw: &[RawNode], votes: &mut HashMap<(i64, i64), Votes>) -> Result<Tree, Malformed> {
    let tree = raw.first().map_or(0, |node| node.tree);
    let mut by_id: HashMap<i64, (usize, bool)> = HashMap::with_capacity(raw.len());
    for (position, node) in raw.iter().enumerate() {
        if by_id.insert(node.id, (position, false)).is_some() {
            return Err(Malformed::DuplicateNode { tree, node: node.id });
        }
    }
    for node in raw {
        for child in node.branch.iter().flat_map(|&(_, yes, no)| [yes, no]) {
            let Some((_, has_parent)) = by_id.get_mut(&child) else {
                return Err(Malformed::MissingChild { tree, node: node.id, child });
            };
            if std::mem::replace(has_parent, true) {
                return Err(Malformed::TwoParents { tree, node: child });
            }
        }
    }
    let mut roots = raw.iter().enumerate().filter(|(_, node)| by_id.get(&node.id).is_some_and(|&(_, parent)| !parent));
    let (root_at, root) = roots.next().ok_or(Malformed::NoRoot { tree })?;
    if let Some((_, second)) = roots.next() {
        return Err(Malformed::TwoRoots { tree, first: root.id, second: second.id });
    }
    // Each node has at most one parent and the root none, so nothing is reached twice and this ends.
    let mut grown = Tree { nodes: Vec::with_capacity(raw.len()), depth: 0 };
    let mut reached = vec![false; raw.len()];
    let mut level = vec![root_at];
    let mut next = Vec::new();
    loop {
        let mut first_child = grown.nodes.len() + level.len();
        for &at in &level {
            let Some(node) = raw.get(at) else { continue };
            if let Some(seen) = reached.get_mut(at) {
                *seen = true;
            }
            grown.nodes.push(match node.branch {
                Some((test, yes, no)) => {
                    next.extend([yes, no].iter().filter_map(|id| by_id.get(id).map(|&(position, _)| position)));
                    first_child += 2;
                    Node::Branch { test, when_true: first_child - 2, when_false: first_child - 1 }
                }
                None => Node::Leaf { votes: votes.remove(&(tree, node.id)).map_or_else(Vec::new, |v| v.votes) },
            });
        }
        if next.is_empty() {
            break;
        }
        grown.depth += 1;
        if grown.depth > MAX_DEPTH {
            return Err(Malformed::TooDeep { tree, limit: MAX_DEPTH });
        }
        level.clear();
        std::mem::swap(&mut level, &mut next);
    }
    match raw.iter().zip(&reached).find(|&(_, &seen)| !seen) {
        Some((node, _)) => Err(Malformed::Unreachable { tree, node: node.id, root: root.id }),
        None => Ok(grown),
    }
}
