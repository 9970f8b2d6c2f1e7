#!/usr/bin/env python3
"""Makes a registry with one model of a given size: random trees, which take as long as trained ones.

    .perch/venv/bin/python bench/python/model.py models/registry FOLDER TREES CLASSES

The first argument is a registry whose champion has the features that serving computes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
from training import graph, registry  # noqa: E402

LEAVES = 31
REFERENCE_ROWS = 8


def tree(random: np.random.Generator, columns: int) -> dict:
    """A tree of 31 leaves, a leaf split at random until there are as many, in LightGBM's own form."""
    root = {"leaf_value": 0.0}
    leaves = [root]
    while len(leaves) < LEAVES:
        node = leaves.pop(int(random.integers(len(leaves))))
        children = [{"leaf_value": float(value)} for value in random.normal(0.0, 0.05, 2)]
        node.pop("leaf_value")
        node |= {
            "split_feature": int(random.integers(columns)),
            "threshold": float(random.normal(0.0, 1.0)),
            "decision_type": "<=",
            "missing_type": "NaN",
            "default_left": bool(random.integers(2)),
            "left_child": children[0],
            "right_child": children[1],
        }
        leaves += children
    return root


def main(source: Path, out: Path, trees: int, classes: int) -> None:
    champion = registry.alias(source, "champion")
    about = registry.manifest(source, champion)
    if about is None:
        sys.exit(f"{source} has no champion: make model")
    trained = onnx.load(str(source / champion / "model.onnx"))
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in trained.graph.initializer}
    dense, width = int(constants["dense_end"][0]), int(constants["width"][0])

    random = np.random.default_rng([trees, classes])
    dump = {"tree_info": [{"tree_structure": tree(random, classes + dense)} for _ in range(trees)]}
    labels = [*about["classes"], *(f"label.{number}" for number in range(classes))][:classes]
    model = SimpleNamespace(
        booster=SimpleNamespace(dump_model=lambda num_iteration: dump),
        rounds=trees // classes,
        temperature=1.0,
        weights=random.normal(0.0, 1.0, (width - dense, classes)).astype(np.float32),
    )
    data = SimpleNamespace(classes=labels, schema={"width": width}, dense_width=dense)
    made = graph.build(model, data)

    rows = random.normal(0.0, 1.0, (REFERENCE_ROWS, width)).astype(np.float32)
    _, probabilities = graph.run(made, rows)
    reference = {"rows": rows.astype(float).tolist(), "probabilities": probabilities.astype(float).tolist()}
    version = f"generated-{trees}-{classes}"
    manifest = {
        "version": version,
        "created": about["created"],
        "feature_schema": about["feature_schema"],
        "classes": sorted(labels),
        "metrics": {"val_f1_macro": 0.0},
        "model": {"trees": trees},
    }
    if not (out / version).exists():
        registry.add(out, version, made.SerializeToString(), json.dumps(reference).encode(), manifest)
    registry.set_alias(out, "champion", version)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
