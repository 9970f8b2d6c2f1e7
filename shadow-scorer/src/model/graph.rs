//! What an ONNX file must be like, checked before the runtime builds anything of it.
//!
//! The runtime indexes by names that a file may get wrong, reserves what a file says that it needs, and of an operator
//! that it does not know prints every attribute. So what can be seen from the file alone is refused here, in words that
//! say how to export the model so that it loads.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, tensor_proto::DataType};

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

/// Checks `model`; `is_known` says which operators the runtime has.
///
/// # Errors
/// What is wrong, and what to export instead.
pub(super) fn check(model: &ModelProto, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
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
    let made = names(graph)?;
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
fn names(graph: &GraphProto) -> Result<HashSet<&str>, String> {
    let mut made: HashSet<&str> = graph.initializer.iter().map(|constant| constant.name.as_str()).collect();
    let inputs: Vec<&str> =
        graph.input.iter().map(|input| input.name.as_str()).filter(|name| !made.contains(name)).collect();
    if inputs.len() != 1 {
        return Err(format!("it has the inputs {inputs:?}, but one of rows by features is needed"));
    }
    made.extend(inputs);
    made.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let wanted = graph.node.iter().flat_map(|node| node.input.iter().map(move |input| (input.as_str(), node)));
    for (input, node) in wanted {
        if !input.is_empty() && !made.contains(input) {
            return Err(format!("node {:?} ({}) reads {input:?}, which nothing makes", node.name, node.op_type));
        }
    }
    Ok(made)
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
