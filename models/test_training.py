"""Tests of the training: `python -m unittest discover -s models` in the training environment. Small data, seconds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Callable
from unittest import mock

import numpy as np
from scipy import sparse

import train
from training import data as rows_of, drift, graph, metrics, pipeline, registry

HERE = Path(__file__).resolve().parent
DENSE, MERCHANT, MEMO = 4, 64, 32
LABELS = ["coffee", "pets", "travel"]


def export(folder: Path, rows: int, seed: int = 1, labels: list[str] = LABELS, **other: Callable) -> None:
    """A small export as the feature export writes it: the label shows in the n-grams, the amount and the hour.

    `other` makes arrays anew: from the one that there is and the times.
    """
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(labels), rows)
    x = np.zeros((rows, DENSE + MERCHANT + MEMO), dtype=np.float32)
    x[:, 0] = rng.normal(label * 10, 4)
    x[:, 1] = np.where(rng.random(rows) < 0.3, np.nan, label + rng.normal(0, 1, rows))
    x[:, 2] = rng.integers(0, 24, rows)
    for row in range(rows):
        for _ in range(4):
            x[row, DENSE + (label[row] * 20 + rng.integers(0, 24)) % MERCHANT] += 1
    stored = np.ones_like(x, dtype=bool) & ((x != 0) | np.isnan(x))
    indptr = np.concatenate([[0], stored.sum(axis=1).cumsum()])
    order = rng.permutation(rows)
    arrays = {
        "indptr": indptr.astype(np.int64),
        "indices": np.nonzero(stored)[1].astype(np.uint16),
        "values": x[stored],
        "id": np.arange(rows, dtype=np.int64),
        "time": (1_700_000_000 + order * 60).astype(np.int64),
        "label": label.astype(np.int16),
        "rules": np.where(rng.random(rows) < 0.5, label, -1).astype(np.int16),
        "brand": rng.integers(0, 40, rows).astype(np.uint64),
    }
    for name, change in other.items():
        arrays[name] = change(arrays[name], arrays["time"]).astype(arrays[name].dtype)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    groups = ["amount", "time", "history", "channel"] + ["merchant"] * MERCHANT + ["memo"] * MEMO
    features = [{"name": f"f{place}", "group": group} for place, group in enumerate(groups)]
    schema = {"version": 1, "merchant_bins": MERCHANT, "memo_bins": MEMO, "features": features}
    about = {"hash": "0" * 64, "width": x.shape[1], "rows": rows, "labels": labels, "schema": schema}
    (folder / "schema.json").write_text(json.dumps(about))


def small_params() -> dict:
    params = tomllib.loads((HERE / "params.toml").read_text())
    params["trees"] |= {"rounds": 4, "num_leaves": 7, "min_data_in_leaf": 5}
    params["embedding"] |= {"folds": 2, "iterations": 20}
    return params


def load(folder: Path, limit: int | None = None) -> rows_of.Data:
    return rows_of.load(folder, limit, 100, 5, 0.7)


def run(*arguments: str) -> tuple[int, dict]:
    """The program, with the result that it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = train.main(arguments)
    return code, json.loads(out.getvalue().splitlines()[-1])


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.features = self.folder / "features"
        self.features.mkdir()
        self.registry = self.folder / "registry"

    def train(self, *more: str) -> tuple[int, dict]:
        places = ["--features", str(self.features), "--registry", str(self.registry)]
        return run(*places, "--rounds", "3", *more)


class TheWholeRun(Folder):
    def test_a_version_is_made_deployed_and_complete(self) -> None:
        export(self.features, 1500)
        card = self.folder / "card.md"
        code, result = self.train("--card", str(card))
        self.assertEqual((code, result["deployed"]), (0, True), result)
        version = self.registry / result["run_id"]
        self.assertEqual(registry.alias(self.registry, "champion"), result["run_id"])
        manifest = json.loads((version / "manifest.json").read_text())
        for name in ("model", "reference"):
            raw = (version / {"model": "model.onnx", "reference": "reference.json"}[name]).read_bytes()
            self.assertEqual(manifest[f"{name}_sha256"], registry.sha256(raw))
        self.assertEqual(manifest["classes"], LABELS)
        self.assertIn("unseen_f1_macro", manifest["metrics"])
        groups = {"amount", "history", "time", "channel", "merchant", "memo"}
        self.assertEqual(set(manifest["ablation"]), groups | {"nothing", "embedding"})
        self.assertIn(result["run_id"], card.read_text())
        reference = json.loads((version / "reference.json").read_text())
        rows = np.array([[np.nan if cell is None else cell for cell in row] for row in reference["rows"]], dtype=np.float32)
        _, p = graph.run((version / "model.onnx").read_bytes(), rows)
        np.testing.assert_allclose(p, reference["probabilities"], atol=1e-5)

    def test_the_same_rows_give_the_same_model(self) -> None:
        export(self.features, 800)
        models = []
        for name in ("a", "b"):
            self.registry = self.folder / name
            _, result = self.train("--quick")
            models.append((self.registry / result["run_id"] / "model.onnx").read_bytes())
        self.assertEqual(models[0], models[1])

    def test_few_labels_are_no_data(self) -> None:
        export(self.features, 99)
        code, result = self.train("--quick")
        self.assertEqual((code, result["error"]), (3, "no data"))
        self.assertIn("99 labels", result["detail"])
        self.assertFalse(self.registry.exists())

    def test_half_an_export_is_no_data(self) -> None:
        code, result = self.train("--quick")
        self.assertEqual(code, 3)
        self.assertIn("make ml-features", result["detail"])

    def test_the_same_rows_trained_twice_within_a_second_make_two_versions(self) -> None:
        class Clock(train.datetime):
            @classmethod
            def now(cls, tz=None):
                return train.datetime(2026, 11, 30, 12, 0, 0, tzinfo=tz)

        export(self.features, 400)
        with mock.patch.object(train, "datetime", Clock):
            first, second = (self.train("--quick")[1]["run_id"] for _ in range(2))
        self.assertEqual(second, f"{first}-2")
        manifest = json.loads((self.registry / second / "manifest.json").read_text())
        self.assertEqual((manifest["version"], registry.alias(self.registry, "champion")), (second, second))

    def test_a_challenger_is_stored_and_serves_nobody(self) -> None:
        export(self.features, 800)
        _, first = self.train("--quick")
        _, second = self.train("--quick", "--rounds", "4", "--deploy", "challenger")
        self.assertEqual(registry.alias(self.registry, "champion"), first["run_id"])
        self.assertEqual(registry.alias(self.registry, "challenger"), second["run_id"])
        self.assertFalse(second["deployed"])

    def test_the_newest_rows_are_taken_under_a_limit(self) -> None:
        export(self.features, 800)
        data = load(self.features, limit=200)
        self.assertEqual(len(data), 200)
        self.assertGreater(data.time.min(), 1_700_000_000 + 599 * 60 - 1)


class TheGraph(Folder):
    def test_a_threshold_becomes_the_greatest_float_not_above_it(self) -> None:
        for threshold in (0.1, 1 / 3, -0.1, 16777217.0, 1e-34, -1e-34):
            below = graph.not_above(threshold)
            self.assertLessEqual(below, threshold)
            self.assertGreater(float(np.nextafter(np.float32(below), np.float32(np.inf))), threshold)

    def test_near_zero_and_at_infinity_a_threshold_becomes_what_lightgbm_does(self) -> None:
        zero, infinity = np.float32(1e-35), np.float32(np.inf)
        for threshold in (0.0, 1e-46, float(zero)):  # 0 is not above it, so neither is all that counts as 0
            self.assertEqual(graph.not_above(threshold), float(zero))
        for threshold in (-1e-46, -float(zero)):  # 0 is above it
            self.assertEqual(graph.not_above(threshold), float(np.nextafter(-zero, -infinity)))
        self.assertEqual(graph.not_above(1e300), np.inf)
        self.assertEqual(graph.not_above(-1e300), -np.inf)
        self.assertEqual(graph.not_above(1e299), float(np.finfo(np.float32).max))

    def test_it_computes_what_lightgbm_computes_on_values_no_row_had(self) -> None:
        export(self.features, 1200)
        data, params = load(self.features), small_params()
        split = rows_of.temporal(data, params["split"])
        quiet = lambda _: None
        # Without the text, so that the trees need the other features.
        x = pipeline.without_group(data, "merchant")
        embedded = pipeline.embed(x, data, split, params, quiet)
        model = pipeline.train(x, data, split, embedded, params, quiet)
        rng = np.random.default_rng(5)
        rows = data.x[split.validate].toarray()
        wild = np.array([np.nan, np.inf, -np.inf, 1e-45, -1e-45, 0.0, -0.0, 3.4e38, 7.0], dtype=np.float32)
        rows[:, :DENSE] = rng.choice(wild, rows[:, :DENSE].shape)
        # Every threshold itself, on its own feature: rounded the wrong way it would send the value to the other side.
        waiting = [tree["tree_structure"] for tree in model.booster.dump_model()["tree_info"]]
        row, tried = 0, 0
        while waiting:
            node = waiting.pop()
            if "split_feature" not in node:
                continue
            waiting += [node["left_child"], node["right_child"]]
            column = node["split_feature"] - len(LABELS)
            if column >= 0:
                rows[row % len(rows), column] = node["threshold"]
                row, tried = row + 1, tried + 1
        self.assertGreater(tried, 20)
        x = sparse.csr_matrix(rows)
        x.data = x.data.astype(np.float32)
        seen = pipeline.tree_features(x, pipeline.scores(pipeline.grams(x, data), model.weights), data)
        graph.prove(graph.build(model, data), rows, model.probabilities(seen), 1e-5)

    def test_a_graph_of_another_model_is_found_out(self) -> None:
        export(self.features, 600)
        data, params = load(self.features), small_params()
        split = rows_of.temporal(data, params["split"])
        quiet = lambda _: None
        embedded = pipeline.embed(data.x, data, split, params, quiet)
        model = pipeline.train(data.x, data, split, embedded, params, quiet)
        expected = model.probabilities(pipeline.features(data.x, data, model, split.validate))
        model.temperature *= 1.5
        with self.assertRaises(graph.Differs):
            graph.prove(graph.build(model, data), data.x[split.validate].toarray(), expected, 1e-5)


class Splits(Folder):
    def test_the_past_trains_and_the_future_judges(self) -> None:
        export(self.features, 1000)
        data = load(self.features)
        split = rows_of.temporal(data, {"train": 0.7, "calibrate": 0.1})
        self.assertLessEqual(data.time[split.train].max(), data.time[split.calibrate].min())
        self.assertLessEqual(data.time[split.calibrate].max(), data.time[split.validate].min())
        held_out = rows_of.unseen_brands(data, split)
        seen = set(data.brand[held_out.train]) | set(data.brand[held_out.calibrate])
        self.assertTrue(len(held_out.validate))
        self.assertFalse(seen & set(data.brand[held_out.validate]))


class Figures(unittest.TestCase):
    def test_saying_nothing_is_never_right(self) -> None:
        judged = metrics.judge(np.array([0, 0, 1, 1]), np.array([0, -1, 1, 0]), ["a", "b"])
        self.assertAlmostEqual(judged["accuracy"], 0.5)
        self.assertAlmostEqual(judged["coverage"], 0.75)
        self.assertAlmostEqual(judged["per_class"]["a"]["f1"], 0.5)
        self.assertEqual(judged["confusion"], [[1, 0], [1, 1]])

    def test_a_label_that_does_not_occur_does_not_count(self) -> None:
        judged = metrics.judge(np.array([0, 0]), np.array([0, 0]), ["a", "b"])
        self.assertAlmostEqual(judged["f1_macro"], 1.0)

    def test_temperature_corrects_overconfidence(self) -> None:
        rng = np.random.default_rng(2)
        truth = rng.integers(0, 3, 4000)
        predicted = np.where(rng.random(4000) < 0.7, truth, rng.integers(0, 3, 4000))
        raw = np.eye(3)[predicted] * 9.0
        t = pipeline.best_temperature(raw, truth)
        before, after = (metrics.calibration_error(pipeline.softmax(raw / by), truth) for by in (1.0, t))
        self.assertGreater(t, 1.5)
        self.assertLess(after, before / 4)


class Aliases(unittest.TestCase):
    def test_the_policy_is_the_contracts(self) -> None:
        policy = tomllib.loads((HERE / "params.toml").read_text())["policy"]
        self.assertEqual((policy["good_f1"], policy["gain"], policy["least_labels"]), (0.72, 1.02, 100))
        cases = [(0.72, None, True), (0.71, None, False), (0.60, 0.58, True), (0.60, 0.59, False), (0.73, 0.9, True)]
        for f1, champion, deployed in cases:
            self.assertEqual(registry.decide(f1, champion, policy)[0], deployed, (f1, champion))

    def test_going_back_is_kept_and_old_versions_go(self) -> None:
        with tempfile.TemporaryDirectory() as folder, registry.locked(Path(folder)):
            root = Path(folder)
            for number in range(1, 7):
                registry.add(root, f"v{number}", b"m", b"r", {"version": f"v{number}"})
                registry.deploy(root, f"v{number}")
                if number == 1:
                    registry.set_alias(root, "challenger", "v1")
            self.assertEqual((registry.alias(root, "champion"), registry.alias(root, "previous")), ("v6", "v5"))
            self.assertEqual(sorted(registry.prune(root)), ["v2", "v3"])
            self.assertTrue((root / "v1").is_dir(), "an alias names it")


    def test_what_a_stopped_training_left_behind_goes_after_a_day(self) -> None:
        with tempfile.TemporaryDirectory() as folder, registry.locked(Path(folder)):
            root = Path(folder)
            old, new = root / ".v1.17.new", root / ".v2.18.new"
            for draft in (old, new):
                draft.mkdir()
            os.utime(old, (0, 0))
            registry.prune(root)
            self.assertEqual((old.exists(), new.exists()), (False, True))


class Drift(Folder):
    def test_the_reference_adds_up_and_keeps_missing_apart(self) -> None:
        export(self.features, 600)
        data = load(self.features)
        rows = np.arange(len(data))
        reference = drift.reference(data, rows, data.y)
        of = reference["features"]["f1"]
        self.assertAlmostEqual(sum(of["shares"]) + of["missing"], 1.0, places=4)
        self.assertEqual(len(of["shares"]), len(of["edges"]) + 1)
        self.assertAlmostEqual(sum(reference["labels"]), 1.0, places=4)
        self.assertAlmostEqual(sum(reference["grams"]["merchant"]), 1.0, places=4)


if __name__ == "__main__":
    unittest.main()
