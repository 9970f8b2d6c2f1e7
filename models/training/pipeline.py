"""The model: a linear merchant embedding over hashed n-grams, and boosted trees over its scores and the other features.

The embedding's weights are whole numbers and so are the n-gram counts: their sums are exact in float32 in any order, so
every engine that runs the graph puts the same numbers before the trees.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import lightgbm as lgb
import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from .data import Data, Split

Say = Callable[[str], None]


@dataclass
class Model:
    """What was learnt."""

    weights: np.ndarray  # float32 whole numbers, [n-grams, classes]
    booster: lgb.Booster
    rounds: int
    temperature: float

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Scores before the softmax, temperature not yet applied; `features` as `tree_features` makes them."""
        return self.booster.predict(features, raw_score=True, num_iteration=self.rounds)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return softmax(self.raw(features) / self.temperature)


def softmax(raw: np.ndarray) -> np.ndarray:
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def grams(x: sparse.csr_matrix, data: Data) -> sparse.csr_matrix:
    return x[:, data.dense_width :]


def threads() -> int:
    """Threads of a training: what OMP_NUM_THREADS says, else half of the processors that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else max(1, int(processors()) // 2)


def processors(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Processors that this process may use: its affinity, and a container's limit where there is one."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = cgroup.read_text().split()[:2]
        return min(allowed, int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such limit, or "max"
        return allowed


def learn_weights(x: sparse.csr_matrix, y: np.ndarray, classes: int, params: dict) -> np.ndarray:
    """Multinomial logistic regression, its weights rounded to whole numbers. Rows of one label, or none, teach nothing."""
    if len(np.unique(y)) < 2:
        return np.zeros((x.shape[1], classes), dtype=np.float32)
    fitted = LogisticRegression(C=params["strength"], max_iter=params["iterations"], tol=1e-3).fit(x, y)
    weights = np.zeros((x.shape[1], classes), dtype=np.float64)
    coefficients = fitted.coef_
    if len(fitted.classes_) == 2:  # scikit-learn then gives one row, for the second class
        coefficients = np.vstack([-coefficients[0], coefficients[0]])
    weights[:, fitted.classes_] = coefficients.T
    return np.round(weights * params["scale"]).astype(np.float32)


def scores(x: sparse.csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Exact: whole numbers far below 2^24."""
    return np.asarray(x.astype(np.float64) @ weights.astype(np.float64), dtype=np.float32)


def tree_features(x: sparse.csr_matrix, embedded: np.ndarray, data: Data) -> np.ndarray:
    """What the trees see: the embedding's scores, then the named features."""
    return np.hstack([embedded, x[:, : data.dense_width].toarray()]).astype(np.float32)


@dataclass
class Embedded:
    """The embedding and its scores of the rows that trees are trained and stopped on."""

    weights: np.ndarray
    train: np.ndarray
    calibrate: np.ndarray


def embed(x: sparse.csr_matrix, data: Data, split: Split, params: dict, say: Say) -> Embedded:
    """Learns the weights, and the scores of each training row by weights that were learnt without it: the trees must
    see scores as they will be when serving."""
    classes, text, embedding = len(data.classes), grams(x, data), params["embedding"]
    say("embedding: weights for all rows")
    weights = learn_weights(text[split.train], data.y[split.train], classes, embedding)
    crossed = np.zeros((len(split.train), classes), dtype=np.float32)
    fold = np.random.default_rng(params["trees"]["seed"]).integers(0, embedding["folds"], len(split.train))
    for number in range(embedding["folds"]):
        say(f"embedding: fold {number + 1} of {embedding['folds']}")
        inside, outside = split.train[fold != number], split.train[fold == number]
        part = learn_weights(text[inside], data.y[inside], classes, embedding)
        crossed[fold == number] = scores(text[outside], part)
    return Embedded(weights, crossed, scores(text[split.calibrate], weights))


def without_group(data: Data, group: str | None) -> sparse.csr_matrix:
    """The rows with one group of features all zero."""
    if group is None:
        return data.x
    keep = np.ones(data.x.shape[1], dtype=np.float32)
    keep[data.groups[group]] = 0
    return drop_columns(data.x, keep)


def train(x: sparse.csr_matrix, data: Data, split: Split, embedded: Embedded, params: dict, say: Say) -> Model:
    """Learns the trees on `split.train`; stops early and calibrates on `split.calibrate`."""
    train_x = tree_features(x[split.train], embedded.train, data)
    calibrate_x = tree_features(x[split.calibrate], embedded.calibrate, data)
    booster, best = boost(
        train_x, data.y[split.train], calibrate_x, data.y[split.calibrate], len(data.classes), params["trees"], say
    )
    model = Model(embedded.weights, booster, best, 1.0)
    model.temperature = best_temperature(model.raw(calibrate_x), data.y[split.calibrate])
    return model


def features(x: sparse.csr_matrix, data: Data, model: Model, rows: np.ndarray) -> np.ndarray:
    """What the trees of `model` see of `rows`."""
    chosen = x[rows]
    return tree_features(chosen, scores(grams(chosen, data), model.weights), data)


def drop_columns(x: sparse.csr_matrix, keep: np.ndarray) -> sparse.csr_matrix:
    """The matrix with some columns all zero (missing values included, which a product would keep)."""
    kept = x.copy()
    kept.data[keep[kept.indices] == 0] = 0
    kept.eliminate_zeros()
    return kept


def boost(train_x, train_y, calibrate_x, calibrate_y, classes: int, params: dict, say: Say) -> tuple[lgb.Booster, int]:
    train_set = lgb.Dataset(train_x, train_y, free_raw_data=False)
    calibrate_set = lgb.Dataset(calibrate_x, calibrate_y, reference=train_set, free_raw_data=False)
    rounds = params["rounds"]

    def progress(env) -> None:
        if (env.iteration + 1) % max(1, rounds // 10) == 0:
            loss = env.evaluation_result_list[0][2]
            say(f"trees: round {env.iteration + 1} of {rounds}, log loss {loss:.4f}")

    booster = lgb.train(
        {
            "objective": "multiclass",
            "num_class": classes,
            "metric": "multi_logloss",
            "learning_rate": params["learning_rate"],
            "num_leaves": params["num_leaves"],
            "min_data_in_leaf": params["min_data_in_leaf"],
            "feature_fraction": params["feature_fraction"],
            "lambda_l2": params["lambda_l2"],
            "seed": params["seed"],
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads(),
            "verbosity": -1,
        },
        train_set,
        num_boost_round=rounds,
        valid_sets=[calibrate_set],
        callbacks=[lgb.early_stopping(params["patience"], verbose=False), progress],
    )
    return booster, booster.best_iteration or rounds


def best_temperature(raw: np.ndarray, y: np.ndarray) -> float:
    """The divisor of the scores at which held-out log loss is least: golden section on a logarithmic scale."""

    def loss(log_t: float) -> float:
        p = softmax(raw / np.exp(log_t))
        return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())

    low, high = np.log(0.2), np.log(5.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))
