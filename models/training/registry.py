"""The registry on disk: immutable version folders, aliases that are one-line files, replaced by rename.

The scorer and `perch model` change the same files under the same lock (`.lock`, flock).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import time
from pathlib import Path

ALIASES = ("champion", "challenger", "previous")
KEPT = 3
PATIENCE = 60.0
DRAFT_AGE = 86_400.0


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


class Held(Exception):
    """Something else held the lock for as long as it was waited for."""


@contextlib.contextmanager
def locked(root: Path, patience: float = PATIENCE):
    """The right to move aliases, waited for at most `patience` seconds: a process that holds it may be stopped."""
    root.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience
    with open(root / ".lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Held(
                        f"{root / '.lock'} was held by something else for {patience:.0f} s (`fuser {root / '.lock'}` names it)"
                    ) from None
                time.sleep(0.05)
        yield


def alias(root: Path, name: str) -> str | None:
    try:
        return (root / name).read_text().strip() or None
    except FileNotFoundError:
        return None


def set_alias(root: Path, name: str, version: str | None) -> None:
    """Call under `locked`."""
    if version is None:
        (root / name).unlink(missing_ok=True)
        return
    draft = root / f".{name}.new"
    with open(draft, "w") as file:
        file.write(version + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(root / name)


def add(root: Path, version: str, model: bytes, reference: bytes, manifest: dict) -> Path:
    """Writes a version whole or not at all, and gives its folder: called `version`, or `version`-2, … where that is taken
    (the same rows trained twice within a second)."""
    for number in itertools.count(1):
        name = version if number == 1 else f"{version}-{number}"
        about = manifest | {"version": name, "model_sha256": sha256(model), "reference_sha256": sha256(reference)}
        draft = root / f".{name}.{os.getpid()}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (draft / "model.onnx").write_bytes(model)
        (draft / "reference.json").write_bytes(reference)
        (draft / "manifest.json").write_text(json.dumps(about, indent=1) + "\n")
        for file in draft.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        try:
            draft.rename(root / name)
            return root / name
        except OSError as error:
            shutil.rmtree(draft)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    raise AssertionError("counting does not end")


def manifest(root: Path, version: str | None) -> dict | None:
    try:
        return json.loads((root / version / "manifest.json").read_text()) if version else None
    except (OSError, ValueError):
        return None


def decide(
    f1: float, champion_f1: float | None, policy: dict, judged: int | None = None, classes: int | None = None
) -> tuple[bool, str]:
    """The contract's rule: good enough by itself, or enough better than what serves. But an F1 of `judged` labels says
    nothing of the other ones of `classes`: half of them, and two, must occur among the validation rows."""
    good, gain = policy["good_f1"], policy["gain"]
    if judged is not None and classes is not None:
        least = max(2, (classes + 1) // 2)
        if judged < least:
            return False, f"macro F1 {f1:.3f} was measured on {judged} of {classes} labels, at least {least} are needed"
    if f1 >= good:
        return True, f"macro F1 {f1:.3f} is at least {good}"
    if champion_f1 is None:
        return False, f"macro F1 {f1:.3f} is below {good}"
    if f1 >= champion_f1 * gain:
        return True, f"macro F1 {f1:.3f} is at least {gain} × the champion's {champion_f1:.3f}"
    return False, f"macro F1 {f1:.3f} is below {good} and below {gain} × the champion's {champion_f1:.3f}"


def deploy(root: Path, version: str) -> None:
    """The version answers from now on; what answered before is where going back goes. Call under `locked`."""
    before = alias(root, "champion")
    if before and before != version:
        set_alias(root, "previous", before)
    (root / "rolled_back_to").unlink(missing_ok=True)  # the scorer's note, which ends with a deployment
    set_alias(root, "champion", version)
    if alias(root, "challenger") == version:
        set_alias(root, "challenger", None)


def prune(root: Path) -> list[str]:
    """Removes versions beyond the newest three that no alias names, and drafts of trainings that were stopped long ago.
    Call under `locked`."""
    for draft in root.glob(".*.new"):
        if draft.is_dir() and time.time() - draft.stat().st_mtime > DRAFT_AGE:
            shutil.rmtree(draft, ignore_errors=True)
    named = {alias(root, name) for name in ALIASES}
    found = [folder for folder in root.iterdir() if (folder / "manifest.json").is_file() and folder.name[0] != "."]
    found.sort(key=lambda folder: ((folder / "manifest.json").stat().st_mtime_ns, folder.name), reverse=True)
    old = [folder for folder in found[KEPT:] if folder.name not in named]
    for folder in old:
        shutil.rmtree(folder)
    return [folder.name for folder in old]
