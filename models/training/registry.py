"""The registry on disk: immutable version folders, aliases that are one-line files, replaced by rename.

The scorer and `perch model` change the same files under the same lock (`.lock`, flock).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

ALIASES = ("champion", "challenger", "previous")
KEPT = 3


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@contextlib.contextmanager
def locked(root: Path):
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
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
    """Writes a version whole or not at all."""
    manifest = manifest | {"model_sha256": sha256(model), "reference_sha256": sha256(reference)}
    text = json.dumps(manifest, indent=1) + "\n"
    draft = root / f".{version}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    (draft / "model.onnx").write_bytes(model)
    (draft / "reference.json").write_bytes(reference)
    (draft / "manifest.json").write_text(text)
    for file in draft.iterdir():
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
    folder = root / version
    draft.rename(folder)
    return folder


def manifest(root: Path, version: str | None) -> dict | None:
    try:
        return json.loads((root / version / "manifest.json").read_text()) if version else None
    except (OSError, ValueError):
        return None


def decide(f1: float, champion_f1: float | None, policy: dict) -> tuple[bool, str]:
    """The contract's rule: good enough by itself, or enough better than what serves."""
    good, gain = policy["good_f1"], policy["gain"]
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
    set_alias(root, "champion", version)
    if alias(root, "challenger") == version:
        set_alias(root, "challenger", None)


def prune(root: Path) -> list[str]:
    """Removes versions beyond the newest three that no alias names. Call under `locked`."""
    named = {alias(root, name) for name in ALIASES}
    found = [folder for folder in root.iterdir() if (folder / "manifest.json").is_file() and folder.name[0] != "."]
    found.sort(key=lambda folder: ((folder / "manifest.json").stat().st_mtime_ns, folder.name), reverse=True)
    old = [folder for folder in found[KEPT:] if folder.name not in named]
    for folder in old:
        shutil.rmtree(folder)
    return [folder.name for folder in old]
