"""LightGBM models for the forest's parity test and benchmark, and their ONNX graphs.

The trees are written by the exporter that the served models go through (models/training/graph.py), so what is compared
here is the whole way from LightGBM's prediction to the forest's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
from training import graph  # noqa: E402


def rows(count: int, features: int, seed: int, missing: float) -> np.ndarray:
    """Normal values, the last third of the features whole numbers, every second feature missing now and then."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features)).astype(np.float32)
    x[:, features * 2 // 3 :] = np.round(x[:, features * 2 // 3 :] * 3)
    x[:, ::2] = np.where(rng.random((count, (features + 1) // 2)) < missing, np.nan, x[:, ::2])
    return x


def labels(x: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Something to learn: linear and bent, with noise."""
    rng = np.random.default_rng(seed)
    x = np.nan_to_num(x)
    scores = x @ rng.normal(size=(x.shape[1], classes))
    scores += 2 * np.sin(2 * x[:, np.arange(classes) % x.shape[1]]) + 2 * rng.gumbel(size=scores.shape)
    return scores.argmax(axis=1)


def train(x: np.ndarray, y: np.ndarray, classes: int, rounds: int, leaves: int = 31) -> lgb.Booster:
    objective = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    params = {"num_leaves": leaves, "learning_rate": 0.05, "min_data_in_leaf": 5, "verbose": -1, "seed": 1}
    params |= {"num_threads": 1, "deterministic": True, "force_row_wise": True}
    return lgb.train(params | objective, lgb.Dataset(x, y), rounds)


def to_onnx(booster: lgb.Booster, classes: int, width: int, rounds: int) -> bytes:
    """rows [N, width] → label [N], probabilities [N, classes]."""
    model = SimpleNamespace(booster=booster, rounds=rounds, temperature=1.0)
    # A binary model has one sum, which speaks for the second label.
    sums, transform = (classes, "SOFTMAX") if classes > 2 else (1, "LOGISTIC")
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["rows"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        post_transform=transform,
        classlabels_int64s=list(range(classes)),
        **graph.trees(model, sums),
    )
    made = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
        ],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
