"""What training looked like, so that the scorer can tell when serving looks otherwise.

For each named feature: edges of up to ten bins of equal weight, and the share of rows in each, missing values apart.
Hashed n-grams are one feature for the merchant and one for the memo: the shares of their mass over 32 blocks of bins.
What users filed before is one feature here and one overall: the shares of its mass over the labels, which do not depend
on how long the histories are. And the share of each label that the model predicts, on rows that it was not trained on.
"""

from __future__ import annotations

import numpy as np

from .data import Data

BINS = 10
BLOCKS = 32
HISTORY = ("share_here", "share")


def reference(data: Data, rows: np.ndarray, predicted: np.ndarray) -> dict:
    features = data.schema["schema"]["features"]
    dense = data.x[rows][:, : data.dense_width].toarray()
    named, history = {}, {}
    for prefix in HISTORY:
        of = [column for column in range(data.dense_width) if features[column]["name"].startswith(prefix + ".")]
        history[prefix] = blocks(dense[:, of].sum(axis=0, dtype=np.float64), len(of))
    for column in range(data.dense_width):
        if features[column]["group"] == "history":
            continue
        values = dense[:, column]
        known = values[~np.isnan(values)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.array([])
        counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
        named[features[column]["name"]] = {
            "edges": [float(edge) for edge in edges],
            "shares": shares(counts, len(values)),
            "missing": round(1 - len(known) / max(1, len(values)), 6),
        }
    merchant = data.schema["schema"]["merchant_bins"]
    grams = np.asarray(data.x[rows][:, data.dense_width :].sum(axis=0)).ravel()
    return {
        "rows": int(len(rows)),
        "features": named,
        "grams": {"merchant": blocks(grams[:merchant], BLOCKS), "memo": blocks(grams[merchant:], BLOCKS)},
        "history": history,
        "labels": shares(np.bincount(predicted, minlength=len(data.classes)), len(predicted)),
    }


def shares(counts: np.ndarray, total: float) -> list[float]:
    total = max(1.0, float(total))
    return [round(float(count) / total, 6) for count in counts]


def blocks(mass: np.ndarray, count: int) -> list[float]:
    summed = mass.reshape(count, -1).sum(axis=1) if count else mass
    return shares(summed, summed.sum())
