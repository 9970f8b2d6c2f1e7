//! Reads a node of an ONNX graph into an [`Ensemble`].

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::ensemble::{Ensemble, Labels, Mode, PostTransform};
use crate::error::Malformed;

/// The attributes that hold doubles (ai.onnx.ml 3). Rounding them to floats would change results at the thresholds.
const DOUBLES: [(&str, &str); 4] = [
    (
        "nodes_values_as_tensor",
        "export with single precision (nodes_values), which a float32 input type makes of the thresholds",
    ),
    ("nodes_hitrates_as_tensor", "export with single precision (nodes_hitrates)"),
    ("class_weights_as_tensor", "export with single precision (class_weights)"),
    ("base_values_as_tensor", "export with single precision (base_values)"),
];

/// Reads the attributes of a TreeEnsembleClassifier. [`Forest::new`](crate::Forest::new) checks lengths and
/// values.
///
/// # Errors
/// An attribute that is missing, of another type, or not supported.
pub fn ensemble_of(node: &NodeProto) -> TractResult<Ensemble> {
    for (attribute, fix) in DOUBLES {
        if node.attribute.iter().any(|a| a.name == attribute) {
            return Err(Malformed::UnsupportedAttribute { attribute, fix }.into());
        }
    }
    let ints = |name| node.get_attr_slice::<i64>(name).map(<[i64]>::to_vec);
    let modes = node.get_attr_tvec::<&str>("nodes_modes")?;
    let labels = match (
        node.get_attr_opt_slice::<i64>("classlabels_int64s")?,
        node.get_attr_opt_vec::<String>("classlabels_strings")?,
    ) {
        (Some(ints), None) => Labels::Ints(ints.to_vec()),
        (None, Some(strings)) => Labels::Strings(strings),
        (None, None) => bail!("neither classlabels_int64s nor classlabels_strings is given"),
        (Some(_), Some(_)) => bail!("both classlabels_int64s and classlabels_strings are given"),
    };
    Ok(Ensemble {
        nodes_treeids: ints("nodes_treeids")?,
        nodes_nodeids: ints("nodes_nodeids")?,
        nodes_featureids: ints("nodes_featureids")?,
        nodes_modes: modes.iter().map(|name| Mode::from_onnx(name)).collect::<Result<_, _>>()?,
        nodes_values: node.get_attr_slice::<f32>("nodes_values")?.to_vec(),
        nodes_truenodeids: ints("nodes_truenodeids")?,
        nodes_falsenodeids: ints("nodes_falsenodeids")?,
        nodes_missing_value_tracks_true: node
            .get_attr_opt_vec::<bool>("nodes_missing_value_tracks_true")?
            .unwrap_or_default(),
        class_treeids: ints("class_treeids")?,
        class_nodeids: ints("class_nodeids")?,
        class_ids: ints("class_ids")?,
        class_weights: node.get_attr_slice::<f32>("class_weights")?.to_vec(),
        base_values: node.get_attr_opt_slice::<f32>("base_values")?.map(<[f32]>::to_vec).unwrap_or_default(),
        labels,
        post_transform: PostTransform::from_onnx(node.get_attr_opt("post_transform")?.unwrap_or("NONE"))?,
    })
}
