//! Why an ensemble is refused at load, or rows are refused at evaluation.

/// An ensemble that cannot be evaluated as ONNX defines it. It is found at load, before any row is evaluated: a cycle
/// would make an evaluator run for ever, a missing child make it read other data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Two arrays that describe the same things differ in length.
    #[error("{attribute} has {got} entries where {reference} has {expected}: one is needed for each")]
    UnequalLengths {
        /// The array that is too long or too short.
        attribute: &'static str,
        /// Its length.
        got: usize,
        /// The array that determines the length.
        reference: &'static str,
        /// The length it should have.
        expected: usize,
    },
    /// No node, no weight or no label.
    #[error("{attribute} is empty: an ensemble needs at least one")]
    Empty {
        /// The array without an entry.
        attribute: &'static str,
    },
    /// More of something than is accepted.
    #[error("{got} {what}, at most {limit} are accepted")]
    TooMany {
        /// The kind of thing.
        what: &'static str,
        /// The ensemble's number.
        got: usize,
        /// The largest number accepted.
        limit: usize,
    },
    /// A mode that ONNX does not define.
    #[error(
        "node mode {mode:?} is not one of BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, BRANCH_NEQ, LEAF"
    )]
    UnknownMode {
        /// The name found.
        mode: String,
    },
    /// A post transform that is not evaluated here.
    #[error(
        "post_transform {name:?} is not supported: export with NONE, SOFTMAX or LOGISTIC, for which a model with a probit \
         link has to be trained with a logistic one"
    )]
    UnsupportedTransform {
        /// The name found.
        name: String,
    },
    /// Softmax over a single column of weights.
    #[error(
        "post_transform SOFTMAX with two labels but weights for one class only has no defined meaning: \
         export with LOGISTIC, or with weights for both classes"
    )]
    SoftmaxOfOne,
    /// An attribute that only a newer or wider form of the operator has.
    #[error("attribute {attribute} is not supported: {fix}")]
    UnsupportedAttribute {
        /// The attribute.
        attribute: &'static str,
        /// What to export instead.
        fix: &'static str,
    },
    /// Two nodes with one id.
    #[error("tree {tree} has two nodes with id {node}")]
    DuplicateNode {
        /// Tree id.
        tree: i64,
        /// Node id.
        node: i64,
    },
    /// A branch to a node that does not exist.
    #[error("node {node} of tree {tree} has the child {child}, which the tree does not have")]
    MissingChild {
        /// Tree id.
        tree: i64,
        /// Node id of the parent.
        node: i64,
        /// The id that does not exist.
        child: i64,
    },
    /// A node that two branches lead to: a cycle, or branches that meet again.
    #[error("node {node} of tree {tree} is the child of two branches, so the nodes are not a tree")]
    TwoParents {
        /// Tree id.
        tree: i64,
        /// Node id of the child.
        node: i64,
    },
    /// Every node is some node's child.
    #[error("tree {tree} has no root: every node is the child of another, so it is a cycle")]
    NoRoot {
        /// Tree id.
        tree: i64,
    },
    /// More than one node that no branch leads to.
    #[error("tree {tree} has two roots, nodes {first} and {second}: one of them cannot be reached")]
    TwoRoots {
        /// Tree id.
        tree: i64,
        /// Node id of the first root found.
        first: i64,
        /// Node id of the second.
        second: i64,
    },
    /// Nodes that no path from the root leads to.
    #[error("node {node} of tree {tree} cannot be reached from its root {root}: it is part of a cycle")]
    Unreachable {
        /// Tree id.
        tree: i64,
        /// Node id of one such node.
        node: i64,
        /// Node id of the root.
        root: i64,
    },
    /// A path that is longer than in any trained tree.
    #[error("tree {tree} is more than {limit} levels deep")]
    TooDeep {
        /// Tree id.
        tree: i64,
        /// The largest depth accepted.
        limit: usize,
    },
    /// A feature index that is negative or too large.
    #[error("node {node} of tree {tree} reads feature {feature}, accepted are 0 to {limit}")]
    FeatureOutOfRange {
        /// Tree id.
        tree: i64,
        /// Node id.
        node: i64,
        /// The feature index found.
        feature: i64,
        /// The largest index accepted.
        limit: i64,
    },
    /// A comparison with NaN holds for no row.
    #[error("node {node} of tree {tree} compares with NaN, which no value can be compared with")]
    ThresholdNotANumber {
        /// Tree id.
        tree: i64,
        /// Node id.
        node: i64,
    },
    /// NaN or infinity among the weights or base values.
    #[error("{attribute}[{index}] is {value}, a finite number is needed")]
    NotFinite {
        /// The array.
        attribute: &'static str,
        /// Position in it.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A weight for a class without label.
    #[error("class_ids[{index}] is {class}, but there are {classes} labels")]
    ClassOutOfRange {
        /// Position in `class_ids`.
        index: usize,
        /// The class id found.
        class: i64,
        /// Number of labels.
        classes: usize,
    },
    /// A weight for a node that does not exist, or that is not a leaf.
    #[error("class_nodeids[{index}] is node {node} of tree {tree}, which is not a leaf of the ensemble")]
    NotALeaf {
        /// Position in `class_nodeids`.
        index: usize,
        /// Tree id.
        tree: i64,
        /// Node id.
        node: i64,
    },
}

/// Rows that a forest cannot evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongShape {
    /// Rows narrower than the last feature that the trees read.
    #[error("rows have {got} features, the trees read {needed}")]
    TooNarrow {
        /// Features in a row.
        got: usize,
        /// Features needed.
        needed: usize,
    },
    /// The buffers do not fit each other.
    #[error("{what} holds {got} values, {expected} are needed")]
    Buffer {
        /// The buffer.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length needed.
        expected: usize,
    },
}
