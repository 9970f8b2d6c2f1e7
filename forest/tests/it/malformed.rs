//! Everything that is not a tree is refused at load, with an error that says what and where.

use forest::{Ensemble, Forest, Labels, Malformed, Mode, PostTransform};

use crate::properties::stump;

fn refused(change: impl FnOnce(&mut Ensemble)) -> String {
    let mut e = stump(Mode::AtMost, 0.5, false);
    change(&mut e);
    Forest::new(&e).expect_err("a malformed ensemble is refused").to_string()
}

/// Adds a node to the only tree.
fn add(e: &mut Ensemble, id: i64, mode: Mode, yes: i64, no: i64) {
    e.nodes_treeids.push(0);
    e.nodes_nodeids.push(id);
    e.nodes_featureids.push(0);
    e.nodes_modes.push(mode);
    e.nodes_values.push(0.0);
    e.nodes_truenodeids.push(yes);
    e.nodes_falsenodeids.push(no);
    e.nodes_missing_value_tracks_true.push(false);
}

#[test]
fn arrays_of_unequal_length() {
    let message = refused(|e| e.nodes_values.truncate(2));
    assert_eq!(message, "nodes_values has 2 entries where nodes_nodeids has 3: one is needed for each");
    assert!(refused(|e| e.nodes_treeids.push(0)).contains("nodes_treeids has 4"));
    assert!(refused(|e| e.nodes_modes.truncate(1)).contains("nodes_modes has 1"));
    assert!(refused(|e| e.nodes_featureids.clear()).contains("nodes_featureids has 0"));
    assert!(refused(|e| e.nodes_truenodeids.truncate(0)).contains("nodes_truenodeids"));
    assert!(refused(|e| e.nodes_falsenodeids.push(1)).contains("nodes_falsenodeids"));
    assert!(refused(|e| e.nodes_missing_value_tracks_true.truncate(1)).contains("nodes_missing_value_tracks_true"));
    assert!(refused(|e| e.class_weights.push(0.0)).contains("class_weights has 3 entries where class_ids has 2"));
    assert!(refused(|e| e.class_treeids.clear()).contains("class_treeids has 0"));
    assert!(refused(|e| e.class_nodeids.push(2)).contains("class_nodeids has 3"));
    assert!(refused(|e| e.base_values = vec![0.0; 3]).contains("base_values has 3"));
}

#[test]
fn nothing_at_all() {
    assert!(refused(|e| e.labels = Labels::Strings(vec![])).contains("labels is empty"));
    assert!(
        refused(|e| *e = Ensemble { labels: Labels::Ints(vec![1]), ..nothing() }).contains("nodes_nodeids is empty")
    );
    assert!(
        refused(|e| {
            e.class_ids.clear();
            e.class_nodeids.clear();
            e.class_treeids.clear();
            e.class_weights.clear();
        })
        .contains("class_ids is empty")
    );
}

fn nothing() -> Ensemble {
    Ensemble {
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
        labels: Labels::Ints(vec![]),
        post_transform: PostTransform::None,
    }
}

/// The case that makes a naive evaluator run for ever.
#[test]
fn cycles() {
    assert_eq!(
        refused(|e| {
            e.nodes_modes[1] = Mode::AtMost;
            e.nodes_truenodeids[1] = 0;
            e.nodes_falsenodeids[1] = 2;
            e.nodes_falsenodeids[0] = 1;
        }),
        "node 1 of tree 0 is the child of two branches, so the nodes are not a tree"
    );
    let whole = refused(|e| {
        e.nodes_truenodeids[0] = 0;
        e.nodes_falsenodeids[0] = 1;
        e.nodes_modes[1] = Mode::AtMost;
        e.nodes_truenodeids[1] = 2;
        add(e, 3, Mode::Leaf, 0, 0);
        e.nodes_falsenodeids[1] = 3;
    });
    assert_eq!(whole, "tree 0 has no root: every node is the child of another, so it is a cycle");
    let beside = refused(|e| {
        add(e, 3, Mode::AtMost, 3, 4);
        add(e, 4, Mode::Leaf, 0, 0);
    });
    assert_eq!(beside, "node 3 of tree 0 cannot be reached from its root 0: it is part of a cycle");
}

#[test]
fn branches_to_nowhere() {
    assert_eq!(
        refused(|e| e.nodes_falsenodeids[0] = 7),
        "node 0 of tree 0 has the child 7, which the tree does not have"
    );
    assert!(refused(|e| e.nodes_truenodeids[0] = -1).contains("the child -1"));
    // A child in another tree is none.
    assert!(refused(|e| e.nodes_treeids[2] = 1).contains("the child 2, which the tree does not have"));
}

#[test]
fn nodes_that_no_row_reaches() {
    let message = refused(|e| add(e, 9, Mode::Leaf, 0, 0));
    assert_eq!(message, "tree 0 has two roots, nodes 0 and 9: one of them cannot be reached");
}

#[test]
fn the_same_node_twice() {
    assert_eq!(refused(|e| e.nodes_nodeids[2] = 1), "tree 0 has two nodes with id 1");
    assert!(refused(|e| e.nodes_falsenodeids[0] = 1).contains("node 1 of tree 0 is the child of two branches"));
}

#[test]
fn numbers_that_are_none() {
    assert_eq!(
        refused(|e| e.nodes_values[0] = f32::NAN),
        "node 0 of tree 0 compares with NaN, which no value can be compared with"
    );
    assert_eq!(refused(|e| e.class_weights[1] = f32::INFINITY), "class_weights[1] is inf, a finite number is needed");
    assert!(refused(|e| e.class_weights[0] = f32::NAN).contains("class_weights[0] is NaN"));
    assert!(refused(|e| e.base_values = vec![0.0, f32::NEG_INFINITY]).contains("base_values[1] is -inf"));
}

#[test]
fn ids_out_of_range() {
    assert_eq!(refused(|e| e.class_ids[0] = 2), "class_ids[0] is 2, but there are 2 labels");
    assert!(refused(|e| e.class_ids[1] = -1).contains("class_ids[1] is -1"));
    assert!(refused(|e| e.nodes_featureids[0] = -1).contains("node 0 of tree 0 reads feature -1"));
    assert!(refused(|e| e.nodes_featureids[0] = i64::MAX).contains("reads feature 9223372036854775807"));
}

#[test]
fn weights_of_a_node_that_is_not_a_leaf() {
    assert_eq!(
        refused(|e| e.class_nodeids[1] = 0),
        "class_nodeids[1] is node 0 of tree 0, which is not a leaf of the ensemble"
    );
    assert!(refused(|e| e.class_treeids[0] = 4).contains("class_nodeids[0] is node 1 of tree 4"));
}

#[test]
fn a_tree_deeper_than_any() {
    let message = refused(|e| {
        e.nodes_modes[2] = Mode::AtMost;
        e.nodes_truenodeids[2] = 3;
        e.nodes_falsenodeids[2] = 4;
        for level in 0..1_100 {
            add(e, 3 + 2 * level, Mode::Leaf, 0, 0);
            add(e, 4 + 2 * level, Mode::AtMost, 5 + 2 * level, 6 + 2 * level);
        }
        add(e, 3 + 2_200, Mode::Leaf, 0, 0);
        add(e, 4 + 2_200, Mode::Leaf, 0, 0);
        e.class_nodeids[1] = 4 + 2_200;
    });
    assert_eq!(message, "tree 0 is more than 1000 levels deep");
}

#[test]
fn softmax_of_a_single_sum() {
    let message = refused(|e| {
        e.class_ids = vec![0, 0];
        e.post_transform = PostTransform::Softmax;
    });
    assert!(message.contains("export with LOGISTIC"), "{message}");
}

#[test]
fn names_that_onnx_does_not_know() {
    assert_eq!(Mode::from_onnx("BRANCH_LEQ"), Ok(Mode::AtMost));
    assert!(matches!(Mode::from_onnx("BRANCH_MEMBER"), Err(Malformed::UnknownMode { .. })));
    assert!(matches!(PostTransform::from_onnx("PROBIT"), Err(Malformed::UnsupportedTransform { .. })));
    assert!(matches!(PostTransform::from_onnx("SOFTMAX_ZERO"), Err(Malformed::UnsupportedTransform { .. })));
}
