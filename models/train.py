#!/usr/bin/env python3
"""Trains a model on exported rows, proves its graph, and puts it into the registry.

    models/train.py --features models/features --registry models/registry

Progress goes to standard error, one JSON line with the result to standard output. Exit codes: 0 trained (deployed or
not, see the result), 3 "no data" (fewer labels than models/params.toml asks for), 1 anything else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import threading
import time
import tomllib
from datetime import datetime, timezone
from pathlib import Path
from typing import Sequence

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# Threads that wait for work must not burn the processor that another program would do it with.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np  # noqa: E402
from lightgbm.basic import LightGBMError  # noqa: E402

from training import card, data as rows_of, drift, graph, metrics, pipeline, registry  # noqa: E402

NO_DATA = 3


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    if args.end_with_stdin:
        end_with_stdin(args.features)
    params = tomllib.loads(args.params.read_text())
    if args.rounds:
        params["trees"]["rounds"] = args.rounds
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {what}", file=sys.stderr, flush=True)

    policy = params["policy"]
    try:
        data = rows_of.load(
            args.features, args.limit, policy["least_labels"], policy["least_per_class"], params["split"]["train"]
        )
    except rows_of.NoData as missing:
        print(missing, file=sys.stderr)
        print(json.dumps({"error": "no data", "detail": str(missing)}))
        return NO_DATA
    say(f"{len(data)} labelled rows, {len(data.classes)} classes")

    split = rows_of.temporal(data, params["split"])
    if (thin := rows_of.too_thin(data, split)) is not None:
        detail = f"no data: {len(data)} labels, of which {thin}"
        print(detail, file=sys.stderr)
        print(json.dumps({"error": "no data", "detail": detail}))
        return NO_DATA
    say(f"training on {pipeline.threads()} threads")
    embedded = pipeline.embed(data.x, data, split, params, say)
    model = pipeline.train(data.x, data, split, embedded, params, say)
    expected = model.probabilities(pipeline.features(data.x, data, model, split.validate))
    judged = judge(data, split.validate, expected)
    say(f"validation: macro F1 {judged['model']['f1_macro']:.3f}, the rules' {judged['rules']['f1_macro']:.3f}")

    if judged["model"]["unjudged_labels"]:
        say(f"no validation row has the labels {', '.join(judged['model']['unjudged_labels'])}: nothing is known of them")

    say("writing the graph and proving it on the validation rows")
    made = graph.build(model, data)
    proof = graph.prove(made, data.x[split.validate].toarray(), expected, params["reference"]["tolerance"])
    if proof.other_labels:
        say(
            f"onnxruntime's own label output differs on {proof.other_labels} rows from what its probabilities name; the "
            "scorer reads the probabilities"
        )

    # The model is good by now. Figures beside its own are left out where they cannot be had, with a word of why.
    left_out: dict[str, str] = {}
    beside = lambda name, figure: None if args.quick else figure_beside(name, figure, left_out, say)
    unseen = beside("unseen brands", lambda: judge_unseen(data, split, params, say))
    ablated = beside("ablation", lambda: ablation(data, split, embedded, params, say)) or {}
    raw = made.SerializeToString()
    now = datetime.now(timezone.utc)
    version = f"{now:%Y%m%dT%H%M%S}-{hashlib.sha256(raw).hexdigest()[:8]}"

    manifest = {
        "version": version,
        "created": now.isoformat(timespec="seconds"),
        "created_unix": int(now.timestamp()),
        "classes": data.classes,
        "feature_schema": {
            "version": data.schema["schema"]["version"],
            "hash": data.schema["hash"],
            "width": data.schema["width"],
        },
        "metrics": {
            "val_f1_macro": round(judged["model"]["f1_macro"], 4),
            "val_accuracy": round(judged["model"]["accuracy"], 4),
            "rules_f1_macro": round(judged["rules"]["f1_macro"], 4),
            "rules_coverage": round(judged["rules"]["coverage"], 4),
            "unseen_f1_macro": round(unseen["model"]["f1_macro"], 4) if unseen else None,
            "unseen_rules_f1_macro": round(unseen["rules"]["f1_macro"], 4) if unseen else None,
            "calibration_error": round(judged["calibration_error"], 4),
            "agreement_with_rules": round(judged["agreement_with_rules"], 4),
            "class_count": len(data.classes),
            "judged_labels": judged["model"]["judged_labels"],
            "unjudged_labels": judged["model"]["unjudged_labels"],
            "largest_difference": proof.worst,
            "left_out": left_out,
        },
        "data_span": span(data, split),
        "model": {
            "trees": model.rounds * len(data.classes),
            "rounds": model.rounds,
            "temperature": round(model.temperature, 4),
            "bytes": len(raw),
        },
        "params": params,
        "ablation": {group: round(f1, 4) for group, f1 in ablated.items()},
        "per_class": judged["model"]["per_class"],
        "confusion": judged["model"]["confusion"],
        "drift": drift.reference(data, np.arange(len(data)), expected.argmax(axis=1)),
    }
    reference = reference_rows(data, split, expected, params["reference"]["rows"])
    result = publish(args, params, manifest, raw, reference, judged, say)
    if args.card:
        args.card.write_text(card.render(manifest, judged, unseen, ablated, result))
        say(f"model card in {args.card}")
    print(json.dumps(result))
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, default=HERE / "features", help="folder of the feature export")
    parser.add_argument("--registry", type=Path, default=HERE / "registry", help="where versions and aliases are kept")
    parser.add_argument("--params", type=Path, default=HERE / "params.toml")
    parser.add_argument("--card", type=Path, help="write the model card here (make ml-train: models/README.md)")
    parser.add_argument(
        "--lock-patience", type=float, default=registry.PATIENCE, help="seconds to wait for the registry's lock"
    )
    parser.add_argument("--limit", type=int, help="train on the newest rows only")
    parser.add_argument("--rounds", type=int, help="instead of trees.rounds of the parameters")
    parser.add_argument("--quick", action="store_true", help="leave out the unseen-brand split and the ablation")
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="end at once, and remove the rows, when standard input closes: as the child of a scorer, with it",
    )
    parser.add_argument(
        "--deploy",
        choices=["policy", "challenger", "no"],
        default="policy",
        help="policy: let it serve if the policy allows; challenger: be judged in shadow first; no: only store it",
    )
    return parser.parse_args(argv)


def end_with_stdin(features: Path) -> None:
    """Lets this process end when its standard input closes, which it does with the process that holds the other end,
    however that one ends. The rows are this run's own, and go too."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        print("standard input was closed: the training ends", file=sys.stderr, flush=True)
        shutil.rmtree(features, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-stdin").start()


def judge(data, rows: np.ndarray, p: np.ndarray) -> dict:
    truth, rules, said = data.y[rows], data.rules[rows], p.argmax(axis=1)
    opinion = rules >= 0
    return {
        "model": metrics.judge(truth, said, data.classes),
        "rules": metrics.judge(truth, rules, data.classes),
        "calibration_error": metrics.calibration_error(p, truth),
        "agreement_with_rules": float((said == rules)[opinion].mean()) if opinion.any() else 0.0,
    }


class LeftOut(Exception):
    """A figure that these rows do not give."""


def figure_beside(name: str, figure, left_out: dict[str, str], say):
    """A figure beside the model's own; None, with the reason in `left_out`, where it cannot be had."""
    try:
        return figure()
    except (LeftOut, ValueError, LightGBMError) as reason:
        # What the libraries say of rows that are too few or too much alike.
        left_out[name] = " ".join(str(reason).split())[:300]
        say(f"{name}: left out, {left_out[name]}")
        return None


def judge_unseen(data, split, params: dict, say) -> dict:
    """How another model, trained without one brand in five, judges those brands."""
    held_out = rows_of.unseen_brands(data, split)
    if (thin := rows_of.too_thin(data, held_out)) is not None:
        raise LeftOut(f"{thin} without one brand in five")
    tell = lambda what: say(f"unseen brands: {what}")
    embedded = pipeline.embed(data.x, data, held_out, params, tell)
    model = pipeline.train(data.x, data, held_out, embedded, params, tell)
    p = model.probabilities(pipeline.features(data.x, data, model, held_out.validate))
    judged = judge(data, held_out.validate, p)
    tell(f"macro F1 {judged['model']['f1_macro']:.3f}, the rules' {judged['rules']['f1_macro']:.3f}")
    return judged


# Groups of which the embedding sees something.
TEXT = ("merchant", "memo")


def ablation(data, split, embedded, params: dict, say) -> dict[str, float]:
    """Macro F1 on validation with one group of features left out, by fewer rounds, against the same with all."""
    fewer = params | {"trees": params["trees"] | {"rounds": params["ablation"]["rounds"]}}
    found = {}
    for group in [None, *sorted(data.groups)]:
        quiet = lambda _: None
        x = pipeline.without_group(data, group)
        scored = pipeline.embed(x, data, split, params, quiet) if group in TEXT else embedded
        model = pipeline.train(x, data, split, scored, fewer, quiet)
        said = model.raw(pipeline.features(x, data, model, split.validate)).argmax(axis=1)
        name = group or "nothing"
        found[name] = metrics.judge(data.y[split.validate], said, data.classes)["f1_macro"]
        say(f"ablation: without {name}, macro F1 {found[name]:.3f}")
    found["embedding"] = without_embedding(data, split, fewer)
    say(f"ablation: n-grams before the trees instead of the embedding, macro F1 {found['embedding']:.3f}")
    return found


def without_embedding(data, split, params: dict) -> float:
    """Does the learnt embedding earn its place? Macro F1 of trees that see the n-grams themselves."""
    rows = (split.train, split.calibrate)
    train_x, calibrate_x = (data.x[part] for part in rows)
    train_y, calibrate_y = (data.y[part] for part in rows)
    booster, best = pipeline.boost(
        train_x, train_y, calibrate_x, calibrate_y, len(data.classes), params["trees"], lambda _: None
    )
    said = booster.predict(data.x[split.validate], raw_score=True, num_iteration=best).argmax(axis=1)
    return metrics.judge(data.y[split.validate], said, data.classes)["f1_macro"]


def span(data, split) -> dict:
    def of(rows: np.ndarray) -> dict:
        day = lambda at: datetime.fromtimestamp(int(at), timezone.utc).isoformat()
        return {"rows": int(len(rows)), "from": day(data.time[rows[0]]), "to": day(data.time[rows[-1]])}

    return {"train": of(split.train), "calibrate": of(split.calibrate), "validate": of(split.validate)}


def reference_rows(data, split, expected: np.ndarray, count: int) -> bytes:
    """Some validation rows, each predicted label among them, with the outputs that training saw."""
    best = expected.argmax(axis=1)
    first = [int(np.flatnonzero(best == k)[0]) for k in np.unique(best)]
    spread = np.linspace(0, len(best) - 1, count).astype(int)
    chosen = sorted({*first, *map(int, spread)})[: max(count, len(first))]
    dense = data.x[split.validate[chosen]].toarray()
    cells = [[None if np.isnan(v) else (int(v) if v == int(v) else float(v)) for v in row] for row in dense]
    document = {"rows": cells, "probabilities": [[float(p) for p in row] for row in expected[chosen]]}
    return json.dumps(document, separators=(",", ":")).encode()


def publish(args, params: dict, manifest: dict, raw: bytes, reference: bytes, judged: dict, say) -> dict:
    root, figures = args.registry, manifest["metrics"]
    # A version is a folder of its own and needs no lock: whatever holds that loses no finished model.
    version = manifest["version"] = registry.add(root, manifest["version"], raw, reference, manifest).name
    gone, deployed = [], False
    try:
        with registry.locked(root, args.lock_patience):
            champion = registry.manifest(root, registry.alias(root, "champion"))
            champion_f1 = champion["metrics"]["val_f1_macro"] if champion else None
            allowed, why = registry.decide(
                figures["val_f1_macro"], champion_f1, params["policy"], figures["judged_labels"], figures["class_count"]
            )
            deployed = allowed and args.deploy == "policy"
            if deployed:
                registry.deploy(root, version)
            elif args.deploy == "challenger" or args.deploy == "policy" and champion:
                registry.set_alias(root, "challenger", version)
            gone = registry.prune(root)
    except registry.Held as held:
        why = f"{held}: the version is stored, `perch model deploy {version}` lets it serve"
    say(f"{version}: {'deployed' if deployed else 'not deployed'}, {why}")
    if gone:
        say(f"removed old versions: {', '.join(gone)}")
    return {
        "run_id": version,
        "deployed": deployed,
        "reason": why,
        "metrics": manifest["metrics"],
        "data_span": manifest["data_span"],
    }


if __name__ == "__main__":
    sys.exit(main())
