//! Random ensembles and rows, with a taste for the awkward: values at and next to thresholds, signed zeros, denormals,
//! infinities, NaN, every mode, nodes in any order with ids that start nowhere in particular.

use forest::{Ensemble, Labels, Mode, PostTransform};
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::TestRng;

/// The parameters of a random ensemble.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) trees: usize,
    /// Leaves of a tree, at most.
    pub(crate) leaves: usize,
    pub(crate) features: usize,
    pub(crate) classes: usize,
    /// Distinct thresholds that a feature is compared with, at most.
    pub(crate) thresholds: usize,
    pub(crate) modes: Vec<Mode>,
    /// Weights of a leaf, at most; one each, for one class per tree, as boosting writes them, if 0.
    pub(crate) votes: usize,
    pub(crate) transform: PostTransform,
}

pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    let modes = prop_oneof![
        2 => Just(vec![Mode::AtMost]),
        1 => Just(vec![Mode::AtMost, Mode::Below, Mode::AtLeast, Mode::Above, Mode::Equal, Mode::Different]),
    ];
    let transform = prop_oneof![Just(PostTransform::None), Just(PostTransform::Softmax), Just(PostTransform::Logistic)];
    let leaves = prop_oneof![3 => 1_usize..40, 1 => 100_usize..300];
    let sizes = (1_usize..40, leaves, 1_usize..6, 1_usize..6, prop_oneof![1_usize..20, 100_usize..600]);
    (any::<u64>(), sizes, modes, 0_usize..4, transform).prop_map(|(seed, sizes, modes, votes, transform)| {
        let (trees, leaves, features, classes, thresholds) = sizes;
        Shape { seed, trees, leaves, features, classes, thresholds, modes, votes, transform }
    })
}

/// A small generator, so that an ensemble is a function of its shape alone.
pub(crate) struct Random(TestRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Random(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.0.next_u64() % limit as u64) as usize
    }

    pub(crate) fn float(&mut self) -> f32 {
        match self.below(12) {
            0 => [0.0, -0.0, 1.0, -1.0][self.below(4)],
            1 => [f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX, f32::MIN][self.below(4)],
            2 => [f32::INFINITY, f32::NEG_INFINITY][self.below(2)],
            3 => f32::from_bits(self.below(1 << 23) as u32 | (self.below(2) as u32) << 31),
            4 => self.below(20) as f32,
            _ => (self.0.next_u32() as f32 / u32::MAX as f32 - 0.5) * 10_f32.powi(self.below(12) as i32 - 6),
        }
    }
}

pub(crate) fn ensemble(shape: &Shape) -> Ensemble {
    let mut random = Random::new(shape.seed);
    let thresholds: Vec<Vec<f32>> =
        (0..shape.features).map(|_| (0..shape.thresholds).map(|_| random.float()).collect()).collect();
    let mut e = Ensemble {
        nodes_treeids: vec![],
        nodes_nodeids: vec![],
        nodes_featureids: vec![],
        nodes_modes: vec![],
        nodes_values: vec![],
        nodes_truenodeids: vec![],
        nodes_falsenodeids: vec![],
        nodes_missing_value_tracks_true: vec![],
        class_treeids: vec![],
        class_nodeids: vec![],
        class_ids: vec![],
        class_weights: vec![],
        base_values: vec![],
        labels: Labels::Ints((0..shape.classes).map(|class| class as i64 * 10).collect()),
        post_transform: shape.transform,
    };
    let mut nodes = Vec::new();
    for tree in 0..shape.trees {
        plant(&mut e, &mut nodes, shape, &thresholds, tree as i64 * 3 + 5, &mut random);
    }
    // Every class gets a weight, so that two labels never mean the binary model with one sum.
    let (tree, node) = (e.class_treeids[0], e.class_nodeids[0]);
    for class in 0..shape.classes {
        vote(&mut e, tree, node, class, 0.125);
    }
    if random.below(2) == 0 {
        e.base_values = (0..shape.classes).map(|_| random.below(9) as f32 / 4.0 - 1.0).collect();
    }
    for at in (1..nodes.len()).rev() {
        nodes.swap(at, random.below(at + 1));
    }
    for (tree, id, branch) in nodes {
        let (feature, mode, value, yes, no, missing) = branch.unwrap_or((0, Mode::Leaf, 0.0, 0, 0, false));
        e.nodes_treeids.push(tree);
        e.nodes_nodeids.push(id);
        e.nodes_featureids.push(feature);
        e.nodes_modes.push(mode);
        e.nodes_values.push(value);
        e.nodes_truenodeids.push(yes);
        e.nodes_falsenodeids.push(no);
        e.nodes_missing_value_tracks_true.push(missing);
    }
    e
}

type Branch = (i64, Mode, f32, i64, i64, bool);

fn plant(
    e: &mut Ensemble,
    nodes: &mut Vec<(i64, i64, Option<Branch>)>,
    shape: &Shape,
    thresholds: &[Vec<f32>],
    tree: i64,
    random: &mut Random,
) {
    let leaves = 1 + random.below(shape.leaves);
    let mut open = vec![100_i64];
    let mut fresh = 101;
    while open.len() < leaves {
        // Mostly the newest, so that trees grow deep as leaf-wise boosting makes them.
        let at = if random.below(3) == 0 { random.below(open.len()) } else { open.len() - 1 };
        let id = open.swap_remove(at);
        let feature = random.below(shape.features);
        let value = thresholds[feature][random.below(shape.thresholds)];
        let mode = shape.modes[random.below(shape.modes.len())];
        nodes.push((tree, id, Some((feature as i64, mode, value, fresh, fresh + 1, random.below(2) == 0))));
        open.extend([fresh, fresh + 1]);
        fresh += 2;
    }
    let class = random.below(shape.classes);
    for id in open {
        nodes.push((tree, id, None));
        if shape.votes == 0 {
            let weight = random.below(2_000) as f32 / 997.0 - 1.0;
            vote(e, tree, id, class, weight);
        } else {
            for _ in 0..random.below(shape.votes + 1) {
                let class = random.below(shape.classes);
                let weight = random.below(2_000) as f32 / 997.0 - 1.0;
                vote(e, tree, id, class, weight);
            }
        }
    }
    if e.class_ids.is_empty() {
        let (tree, id, _) = nodes[nodes.len() - 1];
        vote(e, tree, id, 0, 0.5);
    }
}

fn vote(e: &mut Ensemble, tree: i64, node: i64, class: usize, weight: f32) {
    e.class_treeids.push(tree);
    e.class_nodeids.push(node);
    e.class_ids.push(class as i64);
    e.class_weights.push(weight);
}

/// Rows of `width` features, most of them at a threshold or next to one.
pub(crate) fn rows(e: &Ensemble, width: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed ^ 0x5eed);
    (0..width * count)
        .map(|_| match random.below(6) {
            0 => f32::NAN,
            1 => random.float(),
            n => {
                let threshold = e.nodes_values[random.below(e.nodes_values.len())];
                [threshold, threshold.next_up(), threshold.next_down(), threshold][n - 2]
            }
        })
        .collect()
}
