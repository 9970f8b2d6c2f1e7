//! Ensembles as ONNX models, built in memory.

use forest::{Ensemble, Labels, Mode, PostTransform};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..AttributeProto::default() }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(crate) fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { floats: floats.to_vec(), ..attribute(name, AttributeType::Floats) }
}

pub(crate) fn strings<S: AsRef<str>>(name: &str, strings: &[S]) -> AttributeProto {
    let strings = strings.iter().map(|s| s.as_ref().as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

pub(crate) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.as_bytes().to_vec(), ..attribute(name, AttributeType::String) }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::AtMost => "BRANCH_LEQ",
        Mode::Below => "BRANCH_LT",
        Mode::AtLeast => "BRANCH_GTE",
        Mode::Above => "BRANCH_GT",
        Mode::Equal => "BRANCH_EQ",
        Mode::Different => "BRANCH_NEQ",
        Mode::Leaf => "LEAF",
    }
}

pub(crate) fn node(e: &Ensemble) -> NodeProto {
    let modes: Vec<&str> = e.nodes_modes.iter().map(|&m| mode(m)).collect();
    let missing: Vec<i64> = e.nodes_missing_value_tracks_true.iter().map(|&m| i64::from(m)).collect();
    let transform = match e.post_transform {
        PostTransform::None => "NONE",
        PostTransform::Softmax => "SOFTMAX",
        PostTransform::Logistic => "LOGISTIC",
    };
    let mut attributes = vec![
        ints("nodes_treeids", &e.nodes_treeids),
        ints("nodes_nodeids", &e.nodes_nodeids),
        ints("nodes_featureids", &e.nodes_featureids),
        strings("nodes_modes", &modes),
        floats("nodes_values", &e.nodes_values),
        ints("nodes_truenodeids", &e.nodes_truenodeids),
        ints("nodes_falsenodeids", &e.nodes_falsenodeids),
        ints("class_treeids", &e.class_treeids),
        ints("class_nodeids", &e.class_nodeids),
        ints("class_ids", &e.class_ids),
        floats("class_weights", &e.class_weights),
        string("post_transform", transform),
        match &e.labels {
            Labels::Ints(labels) => ints("classlabels_int64s", labels),
            Labels::Strings(labels) => strings("classlabels_strings", labels),
        },
    ];
    if !missing.is_empty() {
        attributes.push(ints("nodes_missing_value_tracks_true", &missing));
    }
    if !e.base_values.is_empty() {
        attributes.push(floats("base_values", &e.base_values));
    }
    NodeProto {
        name: "trees".into(),
        op_type: "TreeEnsembleClassifier".into(),
        domain: "ai.onnx.ml".into(),
        input: vec!["rows".into()],
        output: vec!["label".into(), "scores".into()],
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn dimension(value: dimension::Value) -> Dimension {
    Dimension { value: Some(value), ..Dimension::default() }
}

/// The batch, a named dimension.
fn batch() -> Dimension {
    dimension(dimension::Value::DimParam("batch".into()))
}

fn value(name: &str, elem_type: i32, dim: Vec<Dimension>) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type,
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn graph(node: Vec<NodeProto>, width: usize, output: Vec<ValueInfoProto>, initializer: Vec<TensorProto>) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![
            OperatorSetIdProto { domain: String::new(), version: 15 },
            OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 3 },
        ],
        graph: Some(GraphProto {
            name: "forest".into(),
            input: vec![value("rows", 1, vec![batch(), dimension(dimension::Value::DimValue(width as i64))])],
            output,
            node,
            initializer,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// A graph with that node of trees alone.
pub(crate) fn model(node: NodeProto, width: usize) -> ModelProto {
    let outputs = vec![value("label", 7, vec![batch()]), value("scores", 1, vec![batch(), Dimension::default()])];
    graph(vec![node], width, outputs, Vec::new())
}

/// A graph that multiplies rows with `weights`, of which `line` belong to each column of a row but for `before` columns
/// at its start and `after` at its end.
pub(crate) fn product(weights: &[f32], line: usize, before: usize, after: usize) -> ModelProto {
    let columns = weights.len() / line;
    let node = |name: &str, op_type: &str, input: &[&str]| NodeProto {
        name: name.into(),
        op_type: op_type.into(),
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![name.into()],
        ..NodeProto::default()
    };
    let whole = |name: &str, value: usize| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: 7,
        int64_data: vec![value as i64],
        ..TensorProto::default()
    };
    let weights = TensorProto {
        name: "weights".into(),
        dims: vec![columns as i64, line as i64],
        data_type: 1,
        float_data: weights.to_vec(),
        ..TensorProto::default()
    };
    let nodes = if before + after == 0 {
        vec![node("sums", "MatMul", &["rows", "weights"])]
    } else {
        vec![node("part", "Slice", &["rows", "start", "end", "axis"]), node("sums", "MatMul", &["part", "weights"])]
    };
    let constants = vec![weights, whole("start", before), whole("end", before + columns), whole("axis", 1)];
    let output = vec![value("sums", 1, vec![batch(), Dimension::default()])];
    graph(nodes, before + columns + after, output, constants)
}
