//! The forest inside tract: taken by name, one plan for every batch size, labels of both kinds, refusals at load.

use forest::{Ensemble, Forest, Labels, Mode, PostTransform};
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Approximation;

use crate::generate::{self, Shape};
use crate::onnx as build;
use crate::properties::stump;

const WIDTH: usize = 5;

fn shape() -> Shape {
    Shape {
        seed: 11,
        trees: 50,
        leaves: 31,
        features: WIDTH,
        classes: 4,
        thresholds: 80,
        modes: vec![Mode::AtMost],
        votes: 0,
        transform: PostTransform::Softmax,
    }
}

fn load(model: &ModelProto, ours: bool) -> TractResult<Arc<TypedRunnableModel>> {
    let mut onnx = onnx();
    if ours {
        forest::register(&mut onnx);
    }
    onnx.model_for_proto_model(model)?.into_optimized()?.into_runnable()
}

fn refused(node: NodeProto) -> String {
    format!("{:#}", load(&build::model(node, 1), true).map(drop).expect_err("refused at load"))
}

#[test]
fn one_plan_serves_every_batch() {
    let ensemble = generate::ensemble(&shape());
    let forest = Forest::new(&ensemble).unwrap();
    let plan = load(&build::model(build::node(&ensemble), WIDTH), true).unwrap();
    assert!(forest::plan_uses_forest(&plan));
    let rows = generate::rows(&ensemble, WIDTH, 100, 1);
    for batch in [1, 2, 7, 64, 100] {
        let rows = &rows[..batch * WIDTH];
        let input = Tensor::from_shape(&[batch, WIDTH], rows).unwrap();
        let outputs = plan.run(tvec![input.into()]).unwrap();
        let mut scores = vec![0.0; batch * 4];
        let mut winners = vec![0; batch];
        forest.predict(rows, WIDTH, &mut scores, &mut winners).unwrap();
        let labels: Vec<i64> = winners.iter().map(|&winner| i64::from(winner) * 10).collect();
        assert_eq!(outputs[0], tensor1(&labels).into_tvalue());
        assert_eq!(outputs[1], Tensor::from_shape(&[batch, 4], &scores).unwrap().into_tvalue());
    }
    assert_eq!(plan.run(tvec![Tensor::zero::<f32>(&[0, WIDTH]).unwrap().into()]).unwrap()[0].shape(), [0]);
}

#[test]
fn string_labels() {
    let mut ensemble = stump(Mode::AtMost, 0.5, true);
    ensemble.labels = Labels::Strings(vec!["transportation.fuel".into(), "épicerie".into()]);
    let plan = load(&build::model(build::node(&ensemble), 1), true).unwrap();
    let outputs = plan.run(tvec![tensor2(&[[0.0_f32], [1.0], [f32::NAN]]).into()]).unwrap();
    let expected = ["épicerie", "transportation.fuel", "épicerie"].map(String::from);
    assert_eq!(outputs[0], tensor1(&expected).into_tvalue());
}

/// The same trees as tract's own operator needs them: sorted, ids counting from 0 without gaps.
fn renumbered(e: &Ensemble) -> Ensemble {
    let mut order: Vec<usize> = (0..e.nodes_nodeids.len()).collect();
    order.sort_by_key(|&i| (e.nodes_treeids[i], e.nodes_nodeids[i]));
    let mut trees = e.nodes_treeids.clone();
    trees.sort_unstable();
    trees.dedup();
    let tree = |id: i64| trees.binary_search(&id).unwrap() as i64;
    let first = |tree: i64| order.iter().position(|&i| e.nodes_treeids[i] == tree).unwrap();
    let node = |tree: i64, id: i64| {
        let from = first(tree);
        order[from..].iter().position(|&i| e.nodes_treeids[i] == tree && e.nodes_nodeids[i] == id).unwrap_or(0) as i64
    };
    let ints = |list: &dyn Fn(usize) -> i64| order.iter().map(|&i| list(i)).collect::<Vec<i64>>();
    let mut votes: Vec<usize> = (0..e.class_ids.len()).collect();
    votes.sort_by_key(|&k| (e.class_treeids[k], e.class_nodeids[k]));
    Ensemble {
        nodes_treeids: ints(&|i| tree(e.nodes_treeids[i])),
        nodes_nodeids: ints(&|i| node(e.nodes_treeids[i], e.nodes_nodeids[i])),
        nodes_featureids: ints(&|i| e.nodes_featureids[i]),
        nodes_modes: order.iter().map(|&i| e.nodes_modes[i]).collect(),
        nodes_values: order.iter().map(|&i| e.nodes_values[i]).collect(),
        nodes_truenodeids: ints(&|i| node(e.nodes_treeids[i], e.nodes_truenodeids[i])),
        nodes_falsenodeids: ints(&|i| node(e.nodes_treeids[i], e.nodes_falsenodeids[i])),
        nodes_missing_value_tracks_true: order.iter().map(|&i| e.nodes_missing_value_tracks_true[i]).collect(),
        class_treeids: votes.iter().map(|&k| tree(e.class_treeids[k])).collect(),
        class_nodeids: votes.iter().map(|&k| node(e.class_treeids[k], e.class_nodeids[k])).collect(),
        class_ids: votes.iter().map(|&k| e.class_ids[k]).collect(),
        class_weights: votes.iter().map(|&k| e.class_weights[k]).collect(),
        ..e.clone()
    }
}

/// tract's own operator, where it is right, gives the same labels and nearly the same scores.
#[test]
fn agrees_with_the_operator_it_replaces() {
    let ensemble = renumbered(&generate::ensemble(&shape()));
    let model = build::model(build::node(&ensemble), WIDTH);
    let rows = generate::rows(&ensemble, WIDTH, 100, 2);
    let input = Tensor::from_shape(&[100, WIDTH], &rows).unwrap();
    let stock = load(&model, false).unwrap();
    assert!(!forest::plan_uses_forest(&stock), "without register the plan holds tract's own operator");
    let theirs = stock.run(tvec![input.clone().into()]).unwrap();
    let ours = load(&model, true).unwrap().run(tvec![input.into()]).unwrap();
    assert_eq!(ours[0], theirs[0]);
    ours[1].close_enough(&theirs[1], Approximation::Close).unwrap();
}

#[test]
fn a_model_without_trees_does_not_use_the_forest() {
    assert!(!forest::model_uses_forest(&TypedModel::default()));
}

#[test]
fn malformed_models_are_refused_at_load() {
    let mut cycle = stump(Mode::AtMost, 0.5, false);
    cycle.nodes_truenodeids[0] = 0;
    assert!(refused(build::node(&cycle)).contains("not a tree") || refused(build::node(&cycle)).contains("root"));
    let good = stump(Mode::AtMost, 0.5, false);
    let mut unknown = build::node(&good);
    unknown.attribute[3] = build::strings("nodes_modes", &["BRANCH_MEMBER", "LEAF", "LEAF"]);
    assert!(refused(unknown).contains("BRANCH_MEMBER"));
    let mut missing = build::node(&good);
    missing.attribute.remove(4);
    assert!(refused(missing).contains("nodes_values"));
    let mut probit = build::node(&good);
    probit.attribute[11] = build::string("post_transform", "PROBIT");
    assert!(refused(probit).contains("PROBIT"));
    let mut doubles = build::node(&good);
    doubles.attribute.push(build::floats("nodes_values_as_tensor", &[]));
    assert!(refused(doubles).contains("single precision"));
    let mut both = build::node(&good);
    both.attribute.push(build::strings("classlabels_strings", &["a", "b"]));
    assert!(refused(both).contains("both"));
}

#[test]
fn rows_narrower_than_the_trees_read_are_refused() {
    let ensemble = generate::ensemble(&shape());
    let narrow = build::model(build::node(&ensemble), 2);
    let error = format!("{:#}", load(&narrow, true).map(drop).expect_err("refused"));
    assert!(error.contains("rows have 2 features"), "{error}");
}

#[test]
fn the_model_of_the_documentation_is_a_tree_of_five_nodes() {
    let iris = Ensemble {
        nodes_treeids: vec![0; 5],
        nodes_nodeids: vec![0, 1, 2, 3, 4],
        nodes_featureids: vec![0, 0, 1, 0, 0],
        nodes_modes: vec![Mode::AtMost, Mode::Leaf, Mode::AtMost, Mode::Leaf, Mode::Leaf],
        nodes_values: vec![2.45, 0.0, 1.75, 0.0, 0.0],
        nodes_truenodeids: vec![1, 0, 3, 0, 0],
        nodes_falsenodeids: vec![2, 0, 4, 0, 0],
        nodes_missing_value_tracks_true: vec![],
        class_treeids: vec![0; 3],
        class_nodeids: vec![1, 3, 4],
        class_ids: vec![0, 1, 2],
        class_weights: vec![1.0; 3],
        base_values: vec![],
        labels: Labels::Strings(["setosa", "versicolor", "virginica"].map(String::from).to_vec()),
        post_transform: PostTransform::None,
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/iris.onnx");
    let model = onnx().proto_model_for_path(path).unwrap();
    assert_eq!(model.graph.unwrap().node, [build::node(&iris)]);
}
