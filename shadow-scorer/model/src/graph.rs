//! What an ONNX file must be like, checked before the runtime builds anything of it.
//!
//! The runtime indexes by names that a file may get wrong, reserves what a file says that it needs, and of an operator
//! that it does not know prints every attribute. So what can be seen from the file alone is refused here, in words that
//! say how to export the model so that it loads.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

/// How a model is exported so that it loads; follows every refusal of a graph.
pub(super) const ADVICE: &str = "export it as one TreeEnsembleClassifier (ai.onnx.ml 1 to 3) over one float32 input, with \
    float32 thresholds, post_transform NONE, SOFTMAX or LOGISTIC, probabilities as a tensor (skl2onnx and onnxmltools: \
    zipmap=False) and the weights inside the file";

const ML: &str = "ai.onnx.ml";
/// The newest version of ai.onnx.ml that ONNX has defined.
const NEWEST_ML: i64 = 5;
/// Nodes of a graph; converters write tens.
const MOST_NODES: usize = 10_000;
/// Numbers in one constant: 1 GiB of f32.
const MOST_NUMBERS: u64 = 1 << 28;
const TREES: &str = "TreeEnsembleClassifier";

/// Checks `model`, whose rows have `width` values; `is_known` says which operators the runtime has.
///
/// # Errors
/// What is wrong, and what to export instead.
pub(super) fn check(model: &ModelProto, width: usize, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
    let Some(graph) = &model.graph else {
        return Err("the file is empty, or not an ONNX model".to_owned());
    };
    let ml = model.opset_import.iter().find(|import| import.domain == ML).map_or(0, |import| import.version);
    if !(0..=NEWEST_ML).contains(&ml) {
        return Err(format!("it asks for {ML} {ml}, but {NEWEST_ML} is the newest: give target_opset={{'{ML}': 3}}"));
    }
    if graph.node.len() > MOST_NODES {
        return Err(format!("it has {} nodes, at most {MOST_NODES} are taken", graph.node.len()));
    }
    operators(graph, is_known)?;
    constants(graph)?;
    let made = names(graph, width)?;
    for output in &graph.output {
        if !made.contains(output.name.as_str()) {
            return Err(format!("its output {:?} is made by no node", output.name));
        }
    }
    if graph.output.is_empty() {
        return Err("it has no output".to_owned());
    }
    acyclic(graph)
}

fn operators(graph: &GraphProto, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
    for node in &graph.node {
        let operator = node.op_type.as_str();
        let instead = match operator {
            "ZipMap" => {
                "it ends in a ZipMap, which makes a dictionary of each row's probabilities: convert with zipmap=False \
                 (skl2onnx: options={id(model): {'zipmap': False}})"
            }
            "TreeEnsembleRegressor" => {
                "it has a TreeEnsembleRegressor, which gives one number and no probability of each label: train and export \
                 a classifier"
            }
            "TreeEnsemble" => "it has a TreeEnsemble of ai.onnx.ml 5: give target_opset={'ai.onnx.ml': 3}",
            "Scaler" | "Normalizer" | "Imputer" | "OneHotEncoder" | "LabelEncoder" | "ArrayFeatureExtractor" => {
                "it prepares its rows or picks its outputs with ai.onnx.ml operators that are not evaluated here: export \
                 the tree classifier alone, trained on the rows as they are"
            }
            "If" | "Loop" | "Scan" => "it has branches or loops in its graph: export without them",
            // What they would reserve is in the file, or follows from a row; no tree classifier needs one.
            "ConstantOfShape" | "Range" | "Expand" | "Tile" | "Pad" | "Resize" | "Upsample" | "OneHot" | "EyeLike" => {
                "it makes a tensor of a size of its own: export the tree classifier alone"
            }
            _ if !["", "ai.onnx", ML].contains(&node.domain.as_str()) => {
                "it has an operator that ONNX does not define: export the tree classifier alone"
            }
            _ if is_known(operator) => continue,
            _ => "it has an operator that is not evaluated here: export the tree classifier alone",
        };
        return Err(format!("{instead} (operator {operator}, node {:?})", node.name));
    }
    if graph.node.iter().any(|node| node.op_type == TREES) {
        return Ok(());
    }
    Err(format!("it has no {TREES}: with a single label, or none that was learnt, there is nothing to predict"))
}

/// The names that something makes, of which exactly one is an input.
fn names(graph: &GraphProto, width: usize) -> Result<HashSet<&str>, String> {
    let mut made: HashSet<&str> = graph.initializer.iter().map(|constant| constant.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !made.contains(input.name.as_str())).collect();
    let &[input] = inputs.as_slice() else {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(format!("it has the inputs {names:?}, but one of rows by features is needed"));
    };
    takes_rows(input, width)?;
    made.insert(&input.name);
    made.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let wanted = graph.node.iter().flat_map(|node| node.input.iter().map(move |input| (input.as_str(), node)));
    for (input, node) in wanted {
        if !input.is_empty() && !made.contains(input) {
            return Err(format!("node {:?} ({}) reads {input:?}, which nothing makes", node.name, node.op_type));
        }
    }
    Ok(made)
}

/// The input must be of numbers, rows by `width`; a size that is not written down is any.
fn takes_rows(input: &ValueInfoProto, width: usize) -> Result<(), String> {
    let Some(Type::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(format!("its input {:?} is not a tensor", input.name));
    };
    let kind = DataType::try_from(tensor.elem_type);
    if !matches!(kind, Ok(DataType::Float | DataType::Double | DataType::Int64 | DataType::Int32)) {
        return Err(format!("its input {:?} is of {kind:?}, but rows are of float32", input.name));
    }
    let Some(shape) = &tensor.shape else { return Ok(()) };
    let said = |dim: usize| match shape.dim.get(dim).and_then(|dim| dim.value.as_ref()) {
        Some(Dimension::DimValue(said)) => u64::try_from(*said).ok().filter(|said| *said > 0),
        _ => None,
    };
    if shape.dim.len() != 2 || said(1).is_some_and(|said| said != width as u64) {
        return Err(format!(
            "its input {:?} has the shape {:?}, but rows of {width} values are given",
            input.name,
            [said(0), said(1)]
        ));
    }
    Ok(())
}

/// Goes through the nodes in the order in which they could be run.
fn acyclic(graph: &GraphProto) -> Result<(), String> {
    let maker: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.output.iter().map(move |output| (output.as_str(), at)))
        .collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut waiting_for: Vec<usize> = vec![0; graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        for maker in node.input.iter().filter(|input| !input.is_empty()).filter_map(|input| maker.get(input.as_str())) {
            if let (Some(readers), Some(count)) = (readers.get_mut(*maker), waiting_for.get_mut(at)) {
                readers.push(at);
                *count += 1;
            }
        }
    }
    let mut ready: Vec<usize> =
        waiting_for.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| at).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        for reader in readers.get(at).into_iter().flatten() {
            if let Some(count) = waiting_for.get_mut(*reader) {
                *count -= 1;
                if *count == 0 {
                    ready.push(*reader);
                }
            }
        }
    }
    if done == graph.node.len() { Ok(()) } else { Err("its nodes wait for each other in a cycle".to_owned()) }
}

fn constants(graph: &GraphProto) -> Result<(), String> {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let attached = attributes.flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    graph.initializer.iter().chain(attached).try_for_each(constant)
}

/// A constant must hold as many numbers as it says, itself.
fn constant(constant: &TensorProto) -> Result<(), String> {
    let name = &constant.name;
    let outside = !constant.external_data.is_empty()
        || constant.data_location.is_some_and(|location| location == DataLocation::External as i32);
    if outside {
        return Err(format!(
            "its constant {name:?} lies in another file: save it with save_as_external_data=False, so that its hash \
             covers everything"
        ));
    }
    let product = constant.dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?));
    let Some(said) = product.filter(|numbers| *numbers <= MOST_NUMBERS) else {
        return Err(format!(
            "its constant {name:?} has the dimensions {:?}, at most {MOST_NUMBERS} numbers are taken",
            constant.dims
        ));
    };
    if constant.data_type == DataType::String as i32 && !constant.raw_data.is_empty() {
        return Err(format!("its constant {name:?} holds strings as raw bytes, for which ONNX defines no form"));
    }
    // What is written as numbers of a wider type (bool, f16) is left to the runtime to read.
    let size = match DataType::try_from(constant.data_type) {
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        _ => return Ok(()),
    };
    let lists = [
        constant.float_data.len(),
        constant.int32_data.len(),
        constant.int64_data.len(),
        constant.double_data.len(),
        constant.uint64_data.len(),
    ];
    let held = if constant.raw_data.is_empty() {
        lists.iter().sum::<usize>() as u64
    } else {
        constant.raw_data.len() as u64 / size
    };
    if held == said {
        Ok(())
    } else {
        Err(format!("its constant {name:?} says that it has {said} numbers, but it holds {held}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::tensor_shape_proto::Dimension as Dim;
    use tract_onnx::pb::{NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, type_proto};

    const WIDTH: usize = 2;

    fn node(operator: &str, input: &[&str], output: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto { op_type: operator.into(), input: names(input), output: names(output), ..NodeProto::default() }
    }

    fn value(name: &str, kind: DataType, dims: &[i64]) -> ValueInfoProto {
        let dim = |dim: &i64| Dim { value: Some(Dimension::DimValue(*dim)), ..Dim::default() };
        let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
        let tensor = type_proto::Tensor { elem_type: kind as i32, shape };
        let kind = TypeProto { value: Some(Type::TensorType(tensor)), ..TypeProto::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
    }

    fn weights(dims: &[i64], numbers: &[f32]) -> TensorProto {
        let (dims, data_type) = (dims.to_vec(), DataType::Float as i32);
        TensorProto { name: "w".into(), dims, data_type, float_data: numbers.to_vec(), ..TensorProto::default() }
    }

    /// A graph that is as it should be, but for `change`.
    fn checked(change: impl FnOnce(&mut GraphProto)) -> Result<(), String> {
        let mut graph = GraphProto {
            node: vec![node("Add", &["x", "w"], &["y"]), node(TREES, &["y"], &["label", "scores"])],
            initializer: vec![weights(&[1, 2], &[0.0, 1.0])],
            input: vec![value("x", DataType::Float, &[0, 2])],
            output: vec![value("scores", DataType::Float, &[0, 2])],
            ..GraphProto::default()
        };
        change(&mut graph);
        let opset_import = vec![OperatorSetIdProto { domain: ML.into(), version: 3 }];
        let model = ModelProto { opset_import, graph: Some(graph), ..ModelProto::default() };
        check(&model, WIDTH, |operator| operator != "Unheard")
    }

    fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
        checked(change).unwrap_err()
    }

    #[test]
    fn a_graph_as_it_should_be_passes() {
        checked(|_| {}).unwrap();
        checked(|graph| graph.node.reverse()).unwrap();
        checked(|graph| graph.input = vec![value("x", DataType::Double, &[0, 0])]).unwrap();
    }

    #[test]
    fn what_the_runtime_would_panic_on_is_found_before_case_a10() {
        assert!(refused(|graph| graph.output[0].name = "nobody's".into()).contains("\"nobody's\" is made by no node"));
        assert!(refused(|graph| graph.output.clear()).contains("no output"));
        assert!(refused(|graph| graph.input.clear()).contains("has the inputs []"));
        assert!(refused(|graph| graph.node[0].input[1] = "z".into()).contains("reads \"z\", which nothing makes"));
        assert!(refused(|graph| graph.node[0].input[1] = "scores".into()).contains("in a cycle"));
        let strings = |graph: &mut GraphProto| {
            graph.initializer[0].data_type = DataType::String as i32;
            graph.initializer[0].raw_data = b"coffee".to_vec();
        };
        assert!(refused(strings).contains("strings as raw bytes"));
        let empty = check(&ModelProto::default(), WIDTH, |_| true).unwrap_err();
        assert!(empty.contains("not an ONNX model"), "{empty}");
    }

    #[test]
    fn what_a_file_says_that_it_needs_is_bounded() {
        for dims in [&[1 << 40][..], &[1 << 40, 1 << 40], &[-1, 2]] {
            assert!(
                refused(|graph| graph.initializer[0].dims = dims.to_vec()).contains("has the dimensions"),
                "{dims:?}"
            );
        }
        assert!(
            refused(|graph| graph.initializer[0].dims = vec![3]).contains("says that it has 3 numbers, but it holds 2")
        );
        assert!(refused(|graph| graph.initializer[0].data_location = Some(1)).contains("save_as_external_data=False"));
        for operator in ["ConstantOfShape", "Range", "Expand", "Tile", "Pad"] {
            assert!(refused(|graph| graph.node[0].op_type = operator.into()).contains("size of its own"), "{operator}");
        }
        let many = |graph: &mut GraphProto| graph.node = vec![graph.node[1].clone(); MOST_NODES + 1];
        assert!(refused(many).contains("at most 10000"));
    }

    #[test]
    fn an_operator_that_is_not_evaluated_says_what_to_export_instead() {
        for (operator, instead) in [
            ("ZipMap", "zipmap=False"),
            ("TreeEnsembleRegressor", "export a classifier"),
            ("TreeEnsemble", "target_opset"),
            ("Scaler", "trained on the rows as they are"),
            ("Loop", "without them"),
            ("Unheard", "the tree classifier alone"),
        ] {
            let message = refused(|graph| graph.node.push(node(operator, &["scores"], &["more"])));
            assert!(message.contains(instead) && message.contains(&format!("operator {operator}")), "{message}");
        }
        assert!(refused(|graph| graph.node.truncate(1)).contains("has no TreeEnsembleClassifier"));
        assert!(refused(|graph| graph.node[1].domain = "com.example".into()).contains("ONNX does not define"));
    }

    #[test]
    fn an_input_of_other_rows_than_this_programs_is_refused() {
        for (input, seen) in [
            (value("x", DataType::Float, &[0, 7]), "rows of 2 values are given"),
            (value("x", DataType::Float, &[0, 2, 1]), "rows of 2 values are given"),
            (value("x", DataType::String, &[0, 2]), "rows are of float32"),
            (ValueInfoProto { name: "x".into(), ..ValueInfoProto::default() }, "is not a tensor"),
        ] {
            let message = refused(|graph| graph.input = vec![input]);
            assert!(message.contains(seen), "{message}");
        }
        assert!(
            refused(|graph| graph.input.push(value("z", DataType::Float, &[0, 2])))
                .contains("has the inputs [\"x\", \"z\"]")
        );
    }
}
