"""The ONNX graph, node by node, and the proof that it computes what LightGBM computes.

The trees are written from LightGBM's own dump rather than by a general converter, since that rounds thresholds to the
nearest float32, which can send a value at the threshold to the other side. Here a threshold becomes the greatest
float32 not above it: for a float32 feature the comparison is then the same, always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .data import Data
from .pipeline import Model


# LightGBM takes a value that is not further from zero than this for zero, before it compares.
ZERO = float(np.float32(1e-35))


def not_above(threshold: float) -> float:
    """The greatest float32 that a split with this threshold sends left."""
    if abs(threshold) >= 1e300:  # as LightGBM's dump writes infinity, which a split off of the missing values compares with
        return float(np.copysign(np.inf, threshold))
    if 0 <= threshold < ZERO:
        return ZERO
    if -ZERO <= threshold < 0:
        return float(np.nextafter(np.float32(-ZERO), np.float32(-np.inf)))
    nearest = np.float32(threshold)
    if float(nearest) > threshold:
        nearest = np.nextafter(nearest, np.float32(-np.inf))
    return float(nearest)


def trees(model: Model, classes: int) -> dict:
    """Attributes of TreeEnsembleClassifier (ai.onnx.ml 3)."""
    keys = "treeids nodeids featureids values modes truenodeids falsenodeids missing_value_tracks_true hitrates".split()
    nodes: dict[str, list] = {f"nodes_{key}": [] for key in keys}
    leaves: dict[str, list] = {f"class_{key}": [] for key in "treeids nodeids ids weights".split()}

    def add(tree: int, number: int, feature=0, value=0.0, mode="LEAF", yes=0, no=0, missing=0) -> None:
        row = (tree, number, feature, value, mode, yes, no, missing, 1.0)
        for column, cell in zip(nodes.values(), row):
            column.append(cell)

    for tree, dumped in enumerate(model.booster.dump_model(num_iteration=model.rounds)["tree_info"]):
        waiting, count = [(dumped["tree_structure"], 0)], 1
        while waiting:
            node, number = waiting.pop()
            if "split_feature" not in node:
                add(tree, number)
                for column, cell in zip(leaves.values(), (tree, number, tree % classes, node["leaf_value"] / model.temperature)):
                    column.append(cell)
                continue
            if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
                raise ValueError(f"a split that the graph cannot say: {node['decision_type']} {node['missing_type']}")
            threshold = node["threshold"]
            # Where training saw no missing value, LightGBM takes one for 0 when it meets it.
            missing = node["default_left"] if node["missing_type"] == "NaN" else 0.0 <= threshold
            yes, no, count = count, count + 1, count + 2
            add(tree, number, node["split_feature"], not_above(threshold), "BRANCH_LEQ", yes, no, int(missing))
            waiting += [(node["right_child"], no), (node["left_child"], yes)]
    return nodes | leaves


def build(model: Model, data: Data) -> onnx.ModelProto:
    """features [N, width] → label [N], probabilities [N, classes]."""
    classes, width, dense = len(data.classes), data.schema["width"], data.dense_width

    def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
        return numpy_helper.from_array(array, name)

    ints = lambda *values: np.array(values, dtype=np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["features", "zero", "dense_end", "columns"], ["dense"]),
            helper.make_node("Slice", ["features", "dense_end", "width", "columns"], ["grams"]),
            helper.make_node("MatMul", ["grams", "weights"], ["scores"]),
            helper.make_node("Concat", ["scores", "dense"], ["tree_features"], axis=1),
            helper.make_node(
                "TreeEnsembleClassifier",
                ["tree_features"],
                ["label", "probabilities"],
                domain="ai.onnx.ml",
                post_transform="SOFTMAX",
                classlabels_int64s=list(range(classes)),
                **trees(model, classes),
            ),
        ],
        "perch",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
        ],
        [
            constant("zero", ints(0)),
            constant("dense_end", ints(dense)),
            constant("width", ints(width)),
            constant("columns", ints(1)),
            constant("weights", model.weights),
        ],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="perch")
    onnx.checker.check_model(made, full_check=True)
    return made


def session(made: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    raw = made if isinstance(made, bytes) else made.SerializeToString()
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


def run(made: onnx.ModelProto | bytes, rows: np.ndarray, batch: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities as onnxruntime computes them."""
    runner = session(made)
    parts = [runner.run(None, {"features": rows[at : at + batch]}) for at in range(0, len(rows), batch)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


class Differs(Exception):
    """The graph does not compute what was trained."""


@dataclass
class Proof:
    """How near a graph is to what was trained."""

    worst: float  # the largest difference of a probability
    other_labels: int  # rows of which the runtime's own label output names another label than the probabilities


def prove(made: onnx.ModelProto, rows: np.ndarray, expected: np.ndarray, tolerance: float) -> Proof:
    """Probabilities within `tolerance`, and the likeliest label the same on every row.

    The label is the one that the probabilities name, as the scorer reads it. The runtime's own label output is only
    counted: of two labels onnxruntime names the second wherever its raw sum is above 0, whatever the first one's is.
    """
    labels, p = run(made, rows)
    worst = float(np.abs(p - expected).max())
    # Where the two best are closer than the tolerance, either may come first.
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * tolerance
    likeliest = p.argmax(axis=1)
    wrong = int((likeliest != expected.argmax(axis=1))[clear].sum())
    # NaN is not within anything.
    if wrong or not worst <= tolerance:
        raise Differs(f"graph and LightGBM differ: {wrong} labels of {len(rows)}, probabilities by up to {worst:.2e}")
    return Proof(worst, int((labels != likeliest)[clear].sum()))
