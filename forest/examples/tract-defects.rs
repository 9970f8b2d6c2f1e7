//! Shows what `forest/docs/tract-tree-ensemble.md` reports of tract's own evaluator of TreeEnsembleClassifier:
//! `cargo run --release -p forest --example tract-defects`.

#![allow(missing_docs, clippy::print_stdout)]

use std::time::Instant;

use anyhow::{Context, Result};
use forest::{Ensemble, Labels, Mode, PostTransform};
use tract_onnx::prelude::*;

#[path = "../tests/it/onnx.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod build;

/// Trees of one split each: `x ≤ 0` votes for class 0, else for class 1.
fn stumps(trees: i64, mode: Mode) -> Ensemble {
    let each = |values: [i64; 3]| (0..trees).flat_map(move |_| values).collect::<Vec<i64>>();
    let of_tree =
        |nodes: usize| (0..trees).flat_map(move |tree| std::iter::repeat_n(tree, nodes)).collect::<Vec<i64>>();
    let leaves = |values: [i64; 2]| (0..trees).flat_map(move |_| values).collect::<Vec<i64>>();
    Ensemble {
        nodes_treeids: of_tree(3),
        nodes_nodeids: each([0, 1, 2]),
        nodes_featureids: each([0, 0, 0]),
        nodes_modes: (0..trees).flat_map(|_| [mode, Mode::Leaf, Mode::Leaf]).collect(),
        nodes_values: vec![0.0; usize::try_from(trees).unwrap_or(0) * 3],
        nodes_truenodeids: each([1, 0, 0]),
        nodes_falsenodeids: each([2, 0, 0]),
        nodes_missing_value_tracks_true: Vec::new(),
        class_treeids: of_tree(2),
        class_nodeids: leaves([1, 2]),
        class_ids: leaves([0, 1]),
        class_weights: vec![1.0; usize::try_from(trees).unwrap_or(0) * 2],
        base_values: Vec::new(),
        labels: Labels::Ints(vec![0, 1]),
        post_transform: PostTransform::None,
    }
}

fn plan(ensemble: &Ensemble, ours: bool) -> Result<Arc<TypedRunnableModel>> {
    let mut format = onnx();
    if ours {
        forest::register(&mut format);
    }
    format.model_for_proto_model(&build::model(build::node(ensemble), 1))?.into_optimized()?.into_runnable()
}

/// The scores of the two classes.
fn scores(plan: &Arc<TypedRunnableModel>, x: f32) -> Result<Vec<f32>> {
    let outputs = plan.run(tvec![Tensor::from_shape(&[1, 1], &[x])?.into()])?;
    Ok(outputs.get(1).context("scores")?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn microseconds(plan: &Arc<TypedRunnableModel>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begin = Instant::now();
        scores(plan, 0.5)?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok(best)
}

fn main() -> Result<()> {
    println!("one row, microseconds (best of five)\n{:>8} {:>12} {:>12}", "trees", "tract", "forest");
    for trees in [500, 1_000, 2_000, 4_000, 8_000] {
        let ensemble = stumps(trees, Mode::AtMost);
        let (tract, ours) = (microseconds(&plan(&ensemble, false)?)?, microseconds(&plan(&ensemble, true)?)?);
        println!("{trees:>8} {tract:>12.1} {ours:>12.1}");
    }
    println!("\none tree, x >= 0 votes for class 0, else for class 1; scores of both");
    let ensemble = stumps(1, Mode::AtLeast);
    let (tract, ours) = (plan(&ensemble, false)?, plan(&ensemble, true)?);
    for x in [1.0, -1.0] {
        println!("x = {x:>4}: tract {:?}, forest {:?}", scores(&tract, x)?, scores(&ours, x)?);
    }
    Ok(())
}
