"""Tests of the training where rows are few or alike, processors are others' too, and parents die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

import train
from test_training import HERE, LABELS, Folder, export, load, small_params
from training import data as rows_of, pipeline, registry


class ThinRows(Folder):
    """Rows of which there are few, or which are much alike: the model is stored, or the result says why there is none."""

    def manifest(self, result: dict) -> dict:
        return json.loads((self.registry / result["run_id"] / "manifest.json").read_text())

    def test_two_labels_train_whatever_the_runtime_calls_them_case_a1(self) -> None:
        for seed in (1, 2, 3):
            export(self.features, 800, seed, LABELS[:2])
            code, result = self.train("--quick")
            self.assertEqual((code, result["deployed"]), (0, True), (seed, result))
            self.assertEqual(self.manifest(result)["classes"], LABELS[:2])

    def test_few_brands_leave_a_figure_out_and_no_model_case_a2(self) -> None:
        three = lambda brand, _: np.random.default_rng(1).choice(np.array([5, 10, 7]), len(brand), p=[0.6, 0.38, 0.02])
        brands = {
            "one, held out": lambda brand, _: np.full(len(brand), 5),
            "one, seen": lambda brand, _: np.full(len(brand), 6),
            "all held out": lambda brand, _: np.arange(len(brand)) * 5,
            "three": three,
        }
        for name, brand in brands.items():
            export(self.features, 400, brand=brand)
            card = self.folder / "card.md"
            code, result = self.train("--card", str(card))
            self.assertEqual((code, result["deployed"]), (0, True), (name, result))
            figures = self.manifest(result)["metrics"]
            self.assertEqual((figures["unseen_f1_macro"] is None), "unseen brands" in figures["left_out"], name)
            if name != "three":
                self.assertIn("one brand in five", figures["left_out"]["unseen brands"])
                self.assertIn("Left out: unseen brands", card.read_text())

    def test_a_figure_that_a_library_refuses_is_left_out_case_a2(self) -> None:
        export(self.features, 400)
        with mock.patch.object(train, "judge_unseen", side_effect=train.LightGBMError("Check failed: (num_data) > (0)")):
            code, result = self.train()
        self.assertEqual((code, result["deployed"]), (0, True))
        self.assertIn("num_data", self.manifest(result)["metrics"]["left_out"]["unseen brands"])

    def test_an_f1_of_one_label_deploys_nothing_and_names_the_others_case_a9(self) -> None:
        def rare(label: np.ndarray, time: np.ndarray) -> np.ndarray:
            early = np.argsort(time)[: int(0.6 * len(label))]
            label[:] = 0
            label[np.random.default_rng(1).choice(early, 6, replace=False)] = 1
            return label

        export(self.features, 400, label=rare)
        code, result = self.train("--quick")
        self.assertEqual((code, result["deployed"]), (0, False), result)
        self.assertIn("1 of 2 labels", result["reason"])
        figures = self.manifest(result)["metrics"]
        self.assertEqual((figures["judged_labels"], figures["unjudged_labels"]), (1, ["pets"]))
        self.assertIsNone(registry.alias(self.registry, "champion"))

    def test_a_label_that_was_only_there_before_rows_were_left_out_is_no_class_case_a2(self) -> None:
        def late(label: np.ndarray, time: np.ndarray) -> np.ndarray:
            order = np.argsort(time)
            label[:] = np.random.default_rng(1).integers(0, 2, len(label))
            label[order[262:275]] = 2  # just before the 70% cut
            label[order[285:]] = 3  # late only, so not kept, which moves the cut
            return label

        export(self.features, 400, label=late, labels=[*LABELS, "new"])
        data = load(self.features)
        split = rows_of.temporal(data, {"train": 0.7, "calibrate": 0.1})
        self.assertEqual(data.classes, LABELS[:2])
        self.assertEqual(set(np.unique(data.y[split.train])), {0, 1})
        self.assertEqual(self.train("--quick")[0], 0)

    def test_one_label_that_is_left_is_no_data(self) -> None:
        export(self.features, 400, label=lambda label, _: np.zeros_like(label))
        code, result = self.train("--quick")
        self.assertEqual((code, result["error"]), (train.NO_DATA, "no data"))

    def test_a_lock_that_is_held_loses_no_finished_model_case_a11(self) -> None:
        export(self.features, 400)
        with registry.locked(self.registry):
            code, result = self.train("--quick", "--lock-patience", "0")
        self.assertEqual((code, result["deployed"]), (0, False))
        self.assertIn(".lock was held", result["reason"])
        self.assertIn(f"perch model deploy {result['run_id']}", result["reason"])
        self.manifest(result)


class Processors(unittest.TestCase):
    def test_half_of_what_it_may_use_and_what_it_is_given_case_a21(self) -> None:
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "3"}):
            self.assertEqual(pipeline.threads(), 3)
        for said in ("", "0", "many"):
            eight = mock.patch.object(os, "sched_getaffinity", lambda _: range(8))
            with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": said}), eight:
                self.assertLessEqual(pipeline.threads(), 4)

    def test_a_containers_limit_counts_case_a21(self) -> None:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "sched_getaffinity", lambda _: range(64)):
            limit = Path(folder) / "cpu.max"
            for text, processors in (("200000 100000\n", 2.0), ("50000 100000\n", 0.5), ("max 100000\n", 64.0), ("", 64.0)):
                limit.write_text(text)
                self.assertEqual(pipeline.processors(limit), processors)
            self.assertEqual(pipeline.processors(Path(folder) / "none"), 64.0)

    def test_the_trees_are_trained_on_as_many_case_a21(self) -> None:
        given = {}

        def note(params, *_, **__):
            given.update(params)
            raise InterruptedError

        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}), mock.patch.object(pipeline.lgb, "train", note):
            with self.assertRaises(InterruptedError):
                rows, labels = np.zeros((4, 1)), np.array([0, 1, 0, 1])
                pipeline.boost(rows, labels, rows, labels, 2, small_params()["trees"], lambda _: None)
        self.assertEqual(given["num_threads"], 1)


class TheParent(Folder):
    def test_a_training_ends_when_its_parent_is_killed_case_2b(self) -> None:
        # The scorer is killed outright: nothing of it can stop the child, but its end of the pipe closes.
        export(self.features, 400)
        (self.features / "label.npy").unlink()
        os.mkfifo(self.features / "label.npy")  # read for ever
        child = subprocess.Popen(
            [sys.executable, str(HERE / "train.py"), "--features", str(self.features), "--end-with-stdin"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(child.kill)
        child.stdin.close()
        self.assertEqual(child.wait(60), 1)
        self.assertFalse(self.features.exists())


if __name__ == "__main__":
    unittest.main()
