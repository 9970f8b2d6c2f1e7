"""Trains LightGBM models and writes what they predict on awkward rows, for forest/tests/it/lightgbm.rs to compare.

    parity.py FOLDER

makes one folder per case: model.onnx, rows.f32, labels.i64, probabilities.f64, and shape (rows, features, classes).
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np

import trained

# name: (classes, features, rounds, leaves, share of missing values, rows to compare)
CASES = {
    "many-classes": (20, 60, 15, 31, 0.05, 100_000),
    "nothing-missing": (5, 12, 30, 31, 0.0, 20_000),
    "binary": (2, 20, 100, 31, 0.05, 20_000),
    "64-leaves": (3, 20, 20, 64, 0.05, 20_000),
    "255-leaves": (3, 20, 20, 255, 0.05, 20_000),
}


def thresholds(booster: lgb.Booster) -> dict[int, list[float]]:
    """What the trees compare each feature with."""
    found: dict[int, list[float]] = {}
    waiting = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            found.setdefault(node["split_feature"], []).append(node["threshold"])
            waiting += [node["left_child"], node["right_child"]]
    return found


def awkward(x: np.ndarray, booster: lgb.Booster, rng: np.random.Generator) -> np.ndarray:
    """A quarter of the cells replaced: thresholds, their neighbours, infinities, denormals, signed zeros, NaN."""
    tiny = np.float32(1e-35)  # what LightGBM takes for zero reaches this far
    extremes = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(np.float32).max, -np.finfo(np.float32).max]
    extremes += [1e-45, -1e-45, 1e-39, -1e-39, np.finfo(np.float32).tiny, -np.finfo(np.float32).tiny]
    extremes += [sign * value for sign in (1, -1) for value in (tiny, np.nextafter(tiny, 1), np.nextafter(tiny, 0))]
    x = x.copy()
    for feature, values in thresholds(booster).items():
        with np.errstate(over="ignore"):
            near = np.array(values, dtype=np.float64).astype(np.float32)
        up, down = np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))
        choices = np.concatenate([near, up, down, rng.choice(np.array(extremes, dtype=np.float32), 3 * len(near))])
        cells = rng.random(len(x)) < 0.25
        x[cells, feature] = rng.choice(choices, cells.sum())
    return x


def write(folder: Path, classes: int, features: int, rounds: int, leaves: int, missing: float, count: int) -> None:
    x = trained.rows(4_000, features, 1, missing)
    booster = trained.train(x, trained.labels(x, classes, 2), classes, rounds, leaves)
    rows = awkward(trained.rows(count, features, 3, missing), booster, np.random.default_rng(4))
    probabilities = booster.predict(rows)
    if classes == 2:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(trained.to_onnx(booster, classes, features, rounds))
    rows.astype("<f4").tofile(folder / "rows.f32")
    probabilities.argmax(axis=1).astype("<i8").tofile(folder / "labels.i64")
    probabilities.astype("<f8").tofile(folder / "probabilities.f64")
    (folder / "shape").write_text(f"{count} {features} {classes}\n")


if __name__ == "__main__":
    for name, case in CASES.items():
        write(Path(sys.argv[1]) / name, *case)
        print(name, flush=True)
