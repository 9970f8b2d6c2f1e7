//! Random ensembles and rows against the naive evaluator: sums and labels to the last bit, what an exponential made of
//! sums to the last but one.

use forest::{Ensemble, Forest, Labels, Mode, PostTransform};
use proptest::prelude::*;

use crate::generate::{self, Shape};
use crate::naive::{self, Naive};

/// Labels and scores of all rows, evaluated in batches of the given size.
fn predict(forest: &Forest, rows: &[f32], width: usize, batch: usize) -> (Vec<u32>, Vec<f32>) {
    let count = rows.len() / width;
    let mut winners = vec![0; count];
    let mut scores = vec![0.0; count * forest.classes()];
    let outputs = winners.chunks_mut(batch).zip(scores.chunks_mut(batch * forest.classes()));
    for (rows, (winners, scores)) in rows.chunks(batch * width).zip(outputs) {
        forest.predict(rows, width, scores, winners).unwrap();
    }
    (winners, scores)
}

fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

fn agrees_with_naive(shape: &Shape, count: usize) -> Result<(), TestCaseError> {
    let ensemble = generate::ensemble(shape);
    let forest = Forest::new(&ensemble).unwrap();
    prop_assert!(forest.features() <= shape.features);
    let width = shape.features + 1;
    let rows = generate::rows(&ensemble, width, count, shape.seed);
    let (winners, scores) = predict(&forest, &rows, width, count);
    let naive = Naive::new(&ensemble);
    for (row, (winner, scores)) in rows.chunks(width).zip(winners.iter().zip(scores.chunks(forest.classes()))) {
        let (expected_winner, expected) = naive::finish(shape.transform, &naive.sums(row));
        // The naive evaluator's exponential is the C library's, which may round the other way.
        let places = if shape.transform == PostTransform::None { 0 } else { 1 };
        let near =
            bits(scores).into_iter().zip(bits(&expected)).all(|(got, expected)| got.abs_diff(expected) <= places);
        prop_assert!(near && scores.len() == expected.len(), "row {:?}: {:?} instead of {:?}", row, scores, expected);
        prop_assert_eq!(*winner, expected_winner);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_evaluator(shape in generate::shapes(), count in 1_usize..90) {
        agrees_with_naive(&shape, count)?;
    }

    /// A row's result is the same alone, in any batch, and at any place in it.
    #[test]
    fn one_result_in_any_batch(shape in generate::shapes()) {
        let ensemble = generate::ensemble(&shape);
        let forest = Forest::new(&ensemble).unwrap();
        let rows = generate::rows(&ensemble, shape.features, 200, shape.seed);
        let (winners, scores) = predict(&forest, &rows, shape.features, 1);
        for batch in [2, 3, 5, 8, 16, 17, 33, 64, 65, 129, 200] {
            let (in_batch, scores_in_batch) = predict(&forest, &rows, shape.features, batch);
            prop_assert_eq!(&in_batch, &winners, "batch {}", batch);
            prop_assert_eq!(bits(&scores_in_batch), bits(&scores), "batch {}", batch);
        }
    }
}

/// A feature with more thresholds than a byte can rank.
#[test]
fn thousands_of_thresholds_on_one_feature() {
    let shape = Shape {
        seed: 3,
        trees: 60,
        leaves: 120,
        features: 2,
        classes: 3,
        thresholds: 5_000,
        modes: vec![Mode::AtMost, Mode::Above],
        votes: 0,
        transform: PostTransform::Softmax,
    };
    agrees_with_naive(&shape, 300).unwrap();
}

/// A chain deeper than any byte could count.
#[test]
fn a_tree_of_700_levels() {
    let mut e = stump(Mode::AtMost, 0.0, false);
    for list in [&mut e.nodes_treeids, &mut e.nodes_nodeids, &mut e.nodes_truenodeids, &mut e.nodes_falsenodeids] {
        list.clear();
    }
    for level in 0..700 {
        e.nodes_nodeids.extend([2 * level, 2 * level + 1]);
        e.nodes_truenodeids.extend([2 * level + 1, 0]);
        e.nodes_falsenodeids.extend([2 * level + 2, 0]);
    }
    e.nodes_nodeids.push(1_400);
    e.nodes_truenodeids.push(0);
    e.nodes_falsenodeids.push(0);
    e.nodes_treeids = vec![0; 1_401];
    e.nodes_featureids = vec![0; 1_401];
    e.nodes_values = (0..1_401).map(|node| (node / 2) as f32).collect();
    e.nodes_modes =
        (0..1_401).map(|node| if node % 2 == 0 && node < 1_400 { Mode::AtMost } else { Mode::Leaf }).collect();
    e.nodes_missing_value_tracks_true = vec![];
    e.class_nodeids = (0..700).map(|level| 2 * level + 1).chain([1_400]).collect();
    e.class_treeids = vec![0; 701];
    e.class_ids = (0..701).map(|leaf| leaf % 3).collect();
    e.class_weights = (0..701).map(|leaf| leaf as f32).collect();
    e.labels = Labels::Ints(vec![0, 1, 2]);
    e.post_transform = PostTransform::None;
    let forest = Forest::new(&e).unwrap();
    for x in [-1.0, 0.0, 0.5, 350.0, 698.9, 699.0, 699.1, f32::NAN] {
        let (_, scores) = predict(&forest, &[x], 1, 1);
        let expected = naive::finish(PostTransform::None, &Naive::new(&e).sums(&[x])).1;
        assert_eq!(scores, expected, "x = {x}");
    }
}

/// One branch and two leaves, the true one weighing 1 for class 1.
pub(crate) fn stump(mode: Mode, value: f32, missing_is_true: bool) -> Ensemble {
    Ensemble {
        nodes_treeids: vec![0, 0, 0],
        nodes_nodeids: vec![0, 1, 2],
        nodes_featureids: vec![0, 0, 0],
        nodes_modes: vec![mode, Mode::Leaf, Mode::Leaf],
        nodes_values: vec![value, 0.0, 0.0],
        nodes_truenodeids: vec![1, 0, 0],
        nodes_falsenodeids: vec![2, 0, 0],
        nodes_missing_value_tracks_true: vec![missing_is_true, false, false],
        class_treeids: vec![0, 0],
        class_nodeids: vec![1, 2],
        class_ids: vec![1, 0],
        class_weights: vec![1.0, 1.0],
        base_values: vec![],
        labels: Labels::Ints(vec![0, 1]),
        post_transform: PostTransform::None,
    }
}

/// Each mode with each pair of awkward values: the whole table, not a sample.
#[test]
fn every_mode_at_every_awkward_value() {
    let tiny = f32::from_bits(1);
    let mut values = vec![0.0, -0.0, 1.0, -1.0, tiny, -tiny, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
    values.extend([f32::INFINITY, f32::NEG_INFINITY, 1.0_f32.next_up(), 1.0_f32.next_down()]);
    let modes = [Mode::AtMost, Mode::Below, Mode::AtLeast, Mode::Above, Mode::Equal, Mode::Different];
    for mode in modes {
        for &threshold in &values {
            for missing_is_true in [false, true] {
                let ensemble = stump(mode, threshold, missing_is_true);
                let forest = Forest::new(&ensemble).unwrap();
                for x in values.iter().copied().chain([f32::NAN, -f32::NAN]) {
                    let expected = u32::from(Naive::new(&ensemble).sums(&[x])[1] > 0.0);
                    let (winners, _) = predict(&forest, &[x], 1, 1);
                    assert_eq!(winners, [expected], "{x} {mode:?} {threshold}, missing {missing_is_true}");
                }
            }
        }
    }
}

/// Two labels, weights for one class: ONNX's binary model with a single sum.
#[test]
fn binary_with_one_sum() {
    let with = |class: i64, weights: [f32; 2], base: &[f32], post_transform| {
        let mut e = stump(Mode::AtMost, 0.0, false);
        e.class_ids = vec![class; 2];
        e.class_weights = weights.to_vec();
        e.base_values = base.to_vec();
        e.post_transform = post_transform;
        let forest = Forest::new(&e).unwrap();
        predict(&forest, &[-1.0, 1.0], 1, 2)
    };
    let logistic = |x: f64| (1.0 / (1.0 + (-x).exp())) as f32;
    for class in [0, 1] {
        let (winners, scores) = with(class, [2.0, -3.0], &[], PostTransform::Logistic);
        assert_eq!(winners, [1, 0]);
        assert_eq!(scores, [logistic(-2.0), logistic(2.0), logistic(3.0), logistic(-3.0)]);
        // No weight is negative, and it is the logistic function still.
        let (winners, scores) = with(class, [2.0, 0.0], &[], PostTransform::Logistic);
        assert_eq!(winners, [1, 0]);
        assert_eq!(scores, [logistic(-2.0), logistic(2.0), 0.5, 0.5]);
        let (winners, scores) = with(class, [0.75, 0.5], &[], PostTransform::None);
        assert_eq!((winners, scores), (vec![1, 0], vec![0.25, 0.75, 0.5, 0.5]));
        let (winners, scores) = with(class, [0.75, -0.5], &[], PostTransform::None);
        assert_eq!((winners, scores), (vec![1, 0], vec![-0.75, 0.75, 0.5, -0.5]));
        let (winners, scores) = with(class, [0.75, -0.5], &[-0.25], PostTransform::None);
        assert_eq!((winners, scores), (vec![1, 0], vec![-0.5, 0.5, 0.75, -0.75]));
        let (_, scores) = with(class, [0.75, -0.5], &[9.0, -0.25], PostTransform::None);
        assert_eq!(scores, [-0.5, 0.5, 0.75, -0.75]);
    }
}
