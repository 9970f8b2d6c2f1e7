"""Rows as the feature export writes them, and their splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse


class NoData(Exception):
    """Too few labels to train on."""


@dataclass
class Data:
    """Labelled rows in order of time."""

    x: sparse.csr_matrix  # float32; what is not stored is 0, NaN is a missing value
    y: np.ndarray  # class numbers
    rules: np.ndarray  # what the rules say, -1 where they say nothing or a label outside the classes
    time: np.ndarray  # seconds since 1970
    brand: np.ndarray  # coarse hash of the merchant
    classes: list[str]
    schema: dict  # as exported: hash, width, schema
    dense_width: int
    gram_width: int
    groups: dict[str, np.ndarray]  # columns by feature group

    def __len__(self) -> int:
        return len(self.y)


def load(folder: Path, limit: int | None, least_labels: int, least_per_class: int, train_share: float) -> Data:
    """Reads an export. `limit` keeps the newest rows only."""
    about = folder / "schema.json"
    if not about.is_file():
        raise NoData(f"{folder} holds no whole export: run `make ml-features` first")
    schema = json.loads(about.read_text())
    get = lambda name: np.load(folder / f"{name}.npy")
    x = sparse.csr_matrix(
        (get("values"), get("indices").astype(np.int32), get("indptr")), shape=(schema["rows"], schema["width"])
    )
    time, y, rules, brand, ids = get("time"), get("label"), get("rules"), get("brand"), get("id")
    order = np.lexsort((ids, time))
    if limit is not None:
        order = order[-limit:]
    if len(order) < least_labels:
        raise NoData(f"no data: {len(order)} labels, at least {least_labels} are needed")
    x, time, y, rules, brand = x[order], time[order], y[order], rules[order], brand[order]

    # Classes: labels with enough rows before validation, in a fixed order (by name). Rows of other labels are left out,
    # which moves the place where validation begins, so that is looked at again.
    kept = {number for number, _ in enumerate(schema["labels"])}
    while True:
        rows = np.flatnonzero(np.isin(y, list(kept)))
        early = y[rows[: max(1, int(len(rows) * train_share))]] if len(rows) else y[:0]
        counts = np.bincount(early, minlength=len(schema["labels"]))
        enough = {number for number in kept if counts[number] >= least_per_class}
        if enough == kept:
            break
        kept = enough
    kept = sorted((schema["labels"][number], number) for number in kept)
    if len(kept) < 2:
        raise NoData(f"no data: {len(kept)} labels have at least {least_per_class} rows, at least 2 are needed")
    to_class = np.full(len(schema["labels"]) + 1, -1, dtype=np.int64)
    for number, (_, label) in enumerate(kept):
        to_class[label] = number
    y, rules = to_class[y], to_class[rules]
    rows = np.flatnonzero(y >= 0)

    features = schema["schema"]["features"]
    grams = schema["schema"]["merchant_bins"] + schema["schema"]["memo_bins"]
    names = np.array([feature["group"] for feature in features])
    return Data(
        x=x[rows],
        y=y[rows],
        rules=rules[rows],
        time=time[rows],
        brand=brand[rows],
        classes=[name for name, _ in kept],
        schema=schema,
        dense_width=schema["width"] - grams,
        gram_width=grams,
        groups={str(name): np.flatnonzero(names == name) for name in np.unique(names)},
    )


@dataclass
class Split:
    """Row numbers of the three parts."""

    train: np.ndarray
    calibrate: np.ndarray
    validate: np.ndarray


def temporal(data: Data, params: dict) -> Split:
    """The past trains, the present calibrates, the future judges."""
    first = int(len(data) * params["train"])
    second = int(len(data) * (params["train"] + params["calibrate"]))
    rows = np.arange(len(data))
    return Split(rows[:first], rows[first:second], rows[second:])


def too_thin(data: Data, split: Split) -> str | None:
    """Why nothing can be trained and judged on this split; None where it can."""
    for name in ("train", "calibrate", "validate"):
        if not len(getattr(split, name)):
            return f"no row is left to {name}"
    if len(np.unique(data.y[split.train])) < 2:
        return "the rows left to train have one label"
    return None


def unseen_brands(data: Data, split: Split) -> Split:
    """The same times, but one brand in five appears in validation only, and validation holds nothing else."""
    held_out = data.brand % np.uint64(5) == 0
    return Split(
        split.train[~held_out[split.train]],
        split.calibrate[~held_out[split.calibrate]],
        split.validate[held_out[split.validate]],
    )
