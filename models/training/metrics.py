"""How good is it? Per label, over all labels, calibrated or not, and against the rules on the same rows."""

from __future__ import annotations

import numpy as np


def judge(truth: np.ndarray, said: np.ndarray, classes: list[str]) -> dict:
    """Macro F1 over the labels that occur in `truth`; -1 in `said` means nothing was said, which is never right."""
    matrix = np.zeros((len(classes), len(classes) + 1), dtype=np.int64)
    np.add.at(matrix, (truth, said), 1)  # -1 counts in the last column
    right = np.diag(matrix)
    support, claimed = matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)
    precision = right / np.maximum(claimed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    there = support > 0
    return {
        "rows": int(len(truth)),
        "f1_macro": float(f1[there].mean()) if there.any() else 0.0,
        "accuracy": float(right.sum() / max(1, len(truth))),
        "judged_labels": int(there.sum()),
        "unjudged_labels": [name for k, name in enumerate(classes) if not there[k]],
        "coverage": float((said >= 0).mean()) if len(said) else 0.0,
        "per_class": {
            name: {
                "precision": round(float(precision[k]), 4),
                "recall": round(float(recall[k]), 4),
                "f1": round(float(f1[k]), 4),
                "rows": int(support[k]),
            }
            for k, name in enumerate(classes)
        },
        "confusion": matrix[:, :-1].tolist(),
    }


def calibration_error(p: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from the share that is right."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = place == number
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)
