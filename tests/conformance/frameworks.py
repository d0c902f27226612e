"""What the preprocessing of frameworks gives: as recorded, or from the packages themselves.

The record has the sum of every array and some of its numbers. `RECORD=1 python -m pytest
tests/conformance -k framework` writes it again, in an environment that `make frameworks-env` made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.inference_yml import TransformOp
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import TooLarge
from tests.conformance.framework_images import SIZES, image

HERE = Path(__file__).resolve().parent
SAMPLES = 24


@dataclass(frozen=True)
class Case:
    """A preprocessing of a framework.

    Attributes:
        name: it is recorded under this name: the preset, or what stands in for it.
        framework: a function of framework_side.py.
        parameters: of that function.
        bound: how far a number may be from the framework's; 0: bit for bit.
        images: names of framework_images.SIZES, or paths of files.
    """

    name: str
    framework: str
    parameters: dict[str, Any]
    bound: float = 0
    images: tuple[str, ...] = tuple(SIZES)


def record_file(framework: str) -> Path:
    return HERE / "recorded" / f"{framework}_preprocess.json"


def recorded(framework: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(record_file(framework).read_text(encoding="utf-8"))
    return record


def samples(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    return flat[np.linspace(0, len(flat) - 1, SAMPLES).astype(np.int64)]


def facts(array: np.ndarray) -> dict[str, Any]:
    """What is recorded of an array."""
    return {
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        "samples": base64.b64encode(samples(array).astype("<f4").tobytes()).decode(),
    }


def check_recorded(case: Case, operators: tuple[TransformOp, ...] | list[Any]) -> None:
    """Compare our arrays with the record: bit for bit, or within the bound of the case."""
    prepare = build_preprocess(operators)
    for name, wanted in recorded(case.framework)["cases"][case.name].items():
        try:
            ours = prepare(image(name))
        except TooLarge:
            assert name == "thin", name  # enlarged to over 20 million pixels, which is refused
            continue
        assert list(ours.shape) == wanted["shape"], name
        theirs = np.frombuffer(base64.b64decode(wanted["samples"]), "<f4")
        difference = float(np.abs(samples(ours) - theirs).max())
        assert difference <= case.bound, (name, difference)
        if not case.bound:
            assert facts(ours)["sha256"] == wanted["sha256"], name


class Frameworks:
    """The packages, in their own Python."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self.folder = folder

    def run(self, cases: list[Case]) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
        """Their documents and versions, and the arrays of each case by image."""
        done = subprocess.run(
            [str(self.python), str(HERE / "framework_side.py"), str(self.folder)],
            input=json.dumps([asdict(case) for case in cases]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers: dict[str, Any] = json.loads((self.folder / "answers.json").read_text("utf-8"))
        arrays = []
        for number, case in enumerate(cases):
            of_case: dict[str, np.ndarray] = {}
            if case.images:
                with np.load(self.folder / f"{number}.npz") as stored:
                    of_case = {n: stored[f"arr_{i}"] for i, n in enumerate(case.images)}
            arrays.append(of_case)
        return answers, arrays


def compare_or_record(frameworks: Frameworks, cases: list[Case]) -> list[dict[str, np.ndarray]]:
    """Compare the packages with the record, or write it; return their arrays."""
    answers, arrays = frameworks.run(cases)
    made = {
        case.name: {name: facts(array) for name, array in of_case.items()}
        for case, of_case in zip(cases, arrays, strict=True)
    }
    documents = {name: text for name, text in answers["documents"].items() if text is not None}
    record = {"versions": answers["versions"], "documents": documents, "cases": made}
    framework = cases[0].framework
    if os.environ.get("RECORD"):
        text = json.dumps(record, indent=1, sort_keys=True)
        record_file(framework).write_text(text + "\n", encoding="utf-8")
    known = recorded(framework)
    if known["versions"] != answers["versions"]:
        pytest.skip(f"recorded with {known['versions']}, and here are {answers['versions']}")
    assert known["cases"] == made
    return arrays
