//! ONNX's definition, written down as plainly as possible: the evaluator that the forest has to agree with.

use std::collections::{HashMap, HashSet};

use forest::{Ensemble, Mode, PostTransform};

/// A tree's root, its nodes by id, and its leaves' votes by node id.
type Indexed = (i64, HashMap<i64, usize>, HashMap<i64, Vec<usize>>);

/// The trees of an ensemble as maps from id to position: root id, nodes, votes of each leaf.
pub(crate) struct Naive<'a> {
    ensemble: &'a Ensemble,
    trees: Vec<Indexed>,
}

impl<'a> Naive<'a> {
    pub(crate) fn new(e: &'a Ensemble) -> Naive<'a> {
        let mut ids: Vec<i64> = e.nodes_treeids.clone();
        ids.sort_unstable();
        ids.dedup();
        let tree = |id: i64| {
            let members = (0..e.nodes_nodeids.len()).filter(|&i| e.nodes_treeids[i] == id);
            let nodes: HashMap<i64, usize> = members.map(|i| (e.nodes_nodeids[i], i)).collect();
            let branches = nodes.values().filter(|&&i| e.nodes_modes[i] != Mode::Leaf);
            let children: HashSet<i64> =
                branches.flat_map(|&i| [e.nodes_truenodeids[i], e.nodes_falsenodeids[i]]).collect();
            let root = *nodes.keys().find(|id| !children.contains(id)).expect("a root");
            let mut votes: HashMap<i64, Vec<usize>> = HashMap::new();
            for k in (0..e.class_ids.len()).filter(|&k| e.class_treeids[k] == id) {
                votes.entry(e.class_nodeids[k]).or_default().push(k);
            }
            (root, nodes, votes)
        };
        Naive { ensemble: e, trees: ids.into_iter().map(tree).collect() }
    }

    /// Sums per class, in the documented order.
    pub(crate) fn sums(&self, row: &[f32]) -> Vec<f64> {
        let e = self.ensemble;
        let mut sums = vec![0.0; e.labels.len()];
        for (sum, &base) in sums.iter_mut().zip(&e.base_values) {
            *sum = f64::from(base);
        }
        for (root, nodes, votes) in &self.trees {
            let mut at = *root;
            while e.nodes_modes[nodes[&at]] != Mode::Leaf {
                let i = nodes[&at];
                at = if holds(e, i, row) { e.nodes_truenodeids[i] } else { e.nodes_falsenodeids[i] };
            }
            for &k in votes.get(&at).into_iter().flatten() {
                sums[e.class_ids[k] as usize] += f64::from(e.class_weights[k]);
            }
        }
        sums
    }
}

fn holds(e: &Ensemble, i: usize, row: &[f32]) -> bool {
    let x = row[e.nodes_featureids[i] as usize];
    let value = e.nodes_values[i];
    if x.is_nan() {
        return e.nodes_missing_value_tracks_true.get(i).copied().unwrap_or(false);
    }
    match e.nodes_modes[i] {
        Mode::AtMost => x <= value,
        Mode::Below => x < value,
        Mode::AtLeast => x >= value,
        Mode::Above => x > value,
        Mode::Equal => x == value,
        Mode::Different => x != value,
        Mode::Leaf => unreachable!("a leaf compares nothing"),
    }
}

/// Label and scores of a model whose classes each have their sum.
pub(crate) fn finish(transform: PostTransform, sums: &[f64]) -> (u32, Vec<f32>) {
    let mut winner = 0;
    for (class, &sum) in sums.iter().enumerate() {
        if sum > sums[winner] {
            winner = class;
        }
    }
    let largest = sums[winner];
    let total: f64 = sums.iter().map(|s| (s - largest).exp()).sum();
    let score = |s: f64| match transform {
        PostTransform::None => s,
        PostTransform::Logistic => 1.0 / (1.0 + (-s).exp()),
        PostTransform::Softmax => (s - largest).exp() / total,
    };
    (winner as u32, sums.iter().map(|&s| score(s) as f32).collect())
}
