"""Copies of a bundle: untuned, and tuned on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bare import ROOT


@dataclass(frozen=True)
class Copies:
    """Two copies of one bundle.

    Attributes:
        name: of the model.
        untuned: without a tuning.yml.
        tuned: with the one that `converter tune` wrote here.
        choice: what the tuning chose, in words.
        differs: whether that is another way than the untuned one.
    """

    name: str
    untuned: Path
    tuned: Path
    choice: str
    differs: bool


def copies(bundle: Path, images: Path, work: Path, seconds: float) -> Copies:
    """Copy `bundle` into `work` twice, and tune one of them for `seconds`.

    Raises:
        SystemExit: it could not be tuned.
    """
    untuned, tuned = work / f"{bundle.name}-untuned", work / f"{bundle.name}-tuned"
    for target in (untuned, tuned):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(
            bundle, target, copy_function=_link, ignore=shutil.ignore_patterns("tuning.yml")
        )
    command = [sys.executable, "-m", "converter", "tune", str(tuned), "--json"]
    command += ["--images", str(images), "--time", f"{seconds:g}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (work / f"{bundle.name}-tune.json").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-2:])
        raise SystemExit(
            f"error: converter tune of {bundle.name} ended with {done.returncode}: {last}"
        )
    tree = json.loads(done.stdout)
    chosen, default = tree["chosen"], tree["untuned"]
    return Copies(bundle.name, untuned, tuned, _words(chosen or default), chosen != default)


def _words(choice: Mapping[str, Any]) -> str:
    """Return a choice for a table: "onnxruntime, onnx, fp32, batches of up to 8, 2 x 1"."""
    names = [choice[key] for key in ("backend", "form", "precision")]
    names.append(f"batches of up to {choice['batch_size']}")
    names.append(f"{choice['workers']} x {choice['threads']}")
    return ", ".join([*names, *(["fast_decode"] if choice["fast_decode"] else [])])


def _link(source: str, target: str) -> str:
    """Link a file, for models are large and nobody writes into one; copy to another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
