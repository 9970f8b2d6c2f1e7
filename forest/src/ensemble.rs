//! An ensemble as ONNX writes it: parallel arrays, not checked yet.
//!
//! [`Forest::new`](crate::Forest::new) checks it and turns it into what is evaluated. Field names are ONNX's own, so an
//! error that names one can be looked up in the operator's specification (ai.onnx.ml, TreeEnsembleClassifier 1 to 3).

use crate::error::Malformed;

/// How a node compares the row's feature with its value. The true branch is taken when the comparison holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `BRANCH_LEQ`: feature ≤ value.
    AtMost,
    /// `BRANCH_LT`: feature < value.
    Below,
    /// `BRANCH_GTE`: feature ≥ value.
    AtLeast,
    /// `BRANCH_GT`: feature > value.
    Above,
    /// `BRANCH_EQ`: feature = value (-0.0 equals 0.0).
    Equal,
    /// `BRANCH_NEQ`: feature ≠ value.
    Different,
    /// `LEAF`: no comparison; feature, value and children are ignored.
    Leaf,
}

impl Mode {
    /// Reads ONNX's name of a mode.
    ///
    /// # Errors
    /// [`Malformed::UnknownMode`] with the name, for anything ONNX does not define.
    pub fn from_onnx(name: &str) -> Result<Mode, Malformed> {
        Ok(match name {
            "BRANCH_LEQ" => Mode::AtMost,
            "BRANCH_LT" => Mode::Below,
            "BRANCH_GTE" => Mode::AtLeast,
            "BRANCH_GT" => Mode::Above,
            "BRANCH_EQ" => Mode::Equal,
            "BRANCH_NEQ" => Mode::Different,
            "LEAF" => Mode::Leaf,
            _ => return Err(Malformed::UnknownMode { mode: name.to_owned() }),
        })
    }
}

/// How sums of weights become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PostTransform {
    /// `NONE`: the sums themselves.
    #[default]
    None,
    /// `SOFTMAX`: over the classes of a row.
    Softmax,
    /// `LOGISTIC`: each sum by itself.
    Logistic,
}

impl PostTransform {
    /// Reads ONNX's name of a transform.
    ///
    /// # Errors
    /// [`Malformed::UnsupportedTransform`] for `SOFTMAX_ZERO` and `PROBIT`, which no exporter of tree classifiers
    /// writes, and for unknown names.
    pub fn from_onnx(name: &str) -> Result<PostTransform, Malformed> {
        Ok(match name {
            "NONE" => PostTransform::None,
            "SOFTMAX" => PostTransform::Softmax,
            "LOGISTIC" => PostTransform::Logistic,
            _ => return Err(Malformed::UnsupportedTransform { name: name.to_owned() }),
        })
    }
}

/// The classes' names, in the order of the class ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Labels {
    /// `classlabels_int64s`
    Ints(Vec<i64>),
    /// `classlabels_strings`
    Strings(Vec<String>),
}

impl Labels {
    /// The number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Labels::Ints(labels) => labels.len(),
            Labels::Strings(labels) => labels.len(),
        }
    }

    /// Returns `true` if there is no class (which [`Forest::new`](crate::Forest::new) refuses).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The attributes of one TreeEnsembleClassifier. The `nodes_` arrays have one entry per node, the `class_` arrays one
/// per weight of a leaf; nodes may come in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The tree of each node. Trees are summed up in ascending order of this id.
    pub nodes_treeids: Vec<i64>,
    /// The node's id, unique within its tree.
    pub nodes_nodeids: Vec<i64>,
    /// The column of the row that the node reads, from 0.
    pub nodes_featureids: Vec<i64>,
    /// The node's comparison.
    pub nodes_modes: Vec<Mode>,
    /// The value that the node compares with. Never NaN; infinities are allowed.
    pub nodes_values: Vec<f32>,
    /// Id of the child when the comparison holds.
    pub nodes_truenodeids: Vec<i64>,
    /// Id of the child when it does not.
    pub nodes_falsenodeids: Vec<i64>,
    /// `true` if a missing value (NaN) takes the true branch, in any mode. Empty means `false` for all.
    pub nodes_missing_value_tracks_true: Vec<bool>,
    /// The tree of the leaf that a weight belongs to.
    pub class_treeids: Vec<i64>,
    /// The leaf that a weight belongs to.
    pub class_nodeids: Vec<i64>,
    /// The class that a weight is added to, an index into the labels.
    pub class_ids: Vec<i64>,
    /// The weight, finite.
    pub class_weights: Vec<f32>,
    /// Where each class's sum starts; empty means 0 for all.
    pub base_values: Vec<f32>,
    /// The classes.
    pub labels: Labels,
    /// How the sums become scores.
    pub post_transform: PostTransform,
}
