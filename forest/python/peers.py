"""The engines that the forest is measured against, and the models that all of them run.

    peers.py prepare FOLDER      trains, and writes TREES.onnx and TREES.txt for each size, and rows.f32
    peers.py serve FOLDER        serves requests on stdin, see below

A request is a line `ENGINE TREES BATCH CACHE SECONDS`: engine lightgbm or onnxruntime, cache warm or cold. The reply
is a line of JSON, the microseconds of every call. Cold means that 96 MiB were touched since the last call. TREES 0 is a
model of next to no trees: what a call costs from Python without the model, to be taken off.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import lightgbm as lgb  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from lightgbm.basic import _LIB  # noqa: E402

import trained  # noqa: E402

CLASSES, FEATURES, ROWS = 20, 60, 4096
SIZES = {0: 1, 100: 5, 600: 30, 2000: 100, 6000: 300}  # trees: rounds


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    x = trained.rows(8_000, FEATURES, 1, 0.05)
    y = trained.labels(x, CLASSES, 2)
    booster = trained.train(x, y, CLASSES, max(SIZES.values()))
    stumps = trained.train(x[:500], y[:500], CLASSES, 1, 2)
    for trees, rounds in SIZES.items():
        source = booster if trees else stumps
        (folder / f"{trees}.onnx").write_bytes(trained.to_onnx(source, CLASSES, FEATURES, rounds))
        (folder / f"{trees}.txt").write_text(source.model_to_string(num_iteration=rounds))
    trained.rows(ROWS, FEATURES, 3, 0.05).astype("<f4").tofile(folder / "rows.f32")


def lightgbm_call(folder: Path, trees: int, batch: int, rows: np.ndarray):
    """The C API: single-row fast for one row, the matrix call for more."""
    booster = lgb.Booster(model_str=(folder / f"{trees}.txt").read_text())
    out, length = np.zeros(batch * CLASSES), ctypes.c_int64()
    into = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    params, normal, float32 = ctypes.c_char_p(b"num_threads=1"), 0, 0
    if batch == 1:
        fast = ctypes.c_void_p()
        init = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit
        if init(booster._handle, normal, 0, -1, float32, FEATURES, params, ctypes.byref(fast)):
            raise RuntimeError("LightGBM refuses")

        def call(at: int) -> None:
            row = ctypes.c_void_p(rows.ctypes.data + at * FEATURES * 4)
            _LIB.LGBM_BoosterPredictForMatSingleRowFast(fast, row, ctypes.byref(length), into)
    else:

        def call(at: int) -> None:
            some = ctypes.c_void_p(rows.ctypes.data + at * FEATURES * 4)
            _LIB.LGBM_BoosterPredictForMat(
                booster._handle, some, float32, batch, FEATURES, 1, normal, 0, -1, params, ctypes.byref(length), into
            )

    call.keeps = booster
    return call


def onnxruntime_call(folder: Path, trees: int, batch: int, rows: np.ndarray):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / f"{trees}.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda at: session.run(None, {"rows": rows[at : at + batch]})


def time_calls(call, batch: int, cold: bool, seconds: float, junk: np.ndarray) -> list[float]:
    call(0)
    took, until, at = [], time.perf_counter() + seconds, 0
    while time.perf_counter() < until or len(took) < 3:
        at = (at + batch) % (ROWS - batch)
        if cold:
            junk += 1
        begin = time.perf_counter_ns()
        call(at)
        took.append((time.perf_counter_ns() - begin) / 1e3)
    return took


def serve(folder: Path) -> None:
    rows = np.fromfile(folder / "rows.f32", dtype="<f4").reshape(ROWS, FEATURES)
    junk = np.zeros(96 << 17, dtype=np.uint64)
    engines = {"lightgbm": lightgbm_call, "onnxruntime": onnxruntime_call}
    calls: dict[tuple, object] = {}
    for line in sys.stdin:
        engine, trees, batch, cache, seconds = line.split()
        key = (engine, int(trees), int(batch))
        if key not in calls:
            calls[key] = engines[engine](folder, key[1], key[2], rows)
        print(json.dumps(time_calls(calls[key], key[2], cache == "cold", float(seconds), junk)), flush=True)


if __name__ == "__main__":
    {"prepare": prepare, "serve": serve}[sys.argv[1]](Path(sys.argv[2]))
