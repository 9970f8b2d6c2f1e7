//! ONNX's definition, written down as plainly as possible: the evaluator that the forest has to agree with.

use std::collections::HashMap;

use forest::{Ensemble, Mode, PostTransform};

/// Sums per class, in the documented order.
pub(crate) fn sums(e: &Ensemble, row: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; e.labels.len()];
    for (sum, &base) in sums.iter_mut().zip(&e.base_values) {
        *sum = f64::from(base);
    }
    let mut trees: Vec<i64> = e.nodes_treeids.clone();
    trees.sort_unstable();
    trees.dedup();
    for tree in trees {
        let nodes: HashMap<i64, usize> = (0..e.nodes_nodeids.len())
            .filter(|&i| e.nodes_treeids[i] == tree)
            .map(|i| (e.nodes_nodeids[i], i))
            .collect();
        let is_child = |id: &i64| {
            nodes.values().any(|&i| {
                e.nodes_modes[i] != Mode::Leaf && (e.nodes_truenodeids[i] == *id || e.nodes_falsenodeids[i] == *id)
            })
        };
        let mut at = *nodes.keys().find(|id| !is_child(id)).expect("a root");
        while e.nodes_modes[nodes[&at]] != Mode::Leaf {
            let i = nodes[&at];
            at = if holds(e, i, row) { e.nodes_truenodeids[i] } else { e.nodes_falsenodeids[i] };
        }
        for k in 0..e.class_ids.len() {
            if e.class_treeids[k] == tree && e.class_nodeids[k] == at {
                sums[e.class_ids[k] as usize] += f64::from(e.class_weights[k]);
            }
        }
    }
    sums
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
