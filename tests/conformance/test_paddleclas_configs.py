"""Every YAML file of PaddleClas' configurations is read, or refused for a reason that a person saw.

The package on the index has those of deploy/configs; a checkout (`make paddleclas-source`) has the
training configurations too.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import BundleError
from bundle.inference_yml import InferenceDescription
from converter.describing.document import load_document
from converter.describing.form import Source
from converter.describing.forms import read_description
from converter.errors import ConversionError
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

from .test_paddleclas_preprocess import paddleclas  # noqa: F401 - a fixture

LABELLED = "taken, with labels"
UNLABELLED = "taken; the names of the classes are with the data set, or nowhere"
# Why a file is refused, by what the error says. Each kind was looked at by a person.
REFUSALS = {
    # Metric learning, faces, hashing, re-identification: the export gives features.
    "gives features": "of a model that gives features",
    # PP-ShiTu: a detector, features and an index in one file.
    "image retrieval": "of image retrieval",
    # A list of trainings with other hyper-parameters each; it names the YAML that has the images.
    "a search over trainings": "of a search over trainings",
    # The score of how beautiful an image is.
    "gives one number and no classes": "of a model that gives one number",
}
TRAINING = {LABELLED: 0}
TRAINING = {
    LABELLED: 420,
    UNLABELLED: 35,
    "of a model that gives features": 33,
    "of a search over trainings": 11,
    "of image retrieval": 1,
    "of a model that gives one number": 1,
}
DEPLOY = {
    LABELLED: 13,
    UNLABELLED: 5,
    "of image retrieval": 10,
    "of a model that gives one number": 1,
}
# Its own files contradict themselves here: the size of the list is not that of the graph.
OTHER_SIZE = {
    "PULC/language_classification/PPLCNet_x1_0_distillation.yaml": [3, 80, 160],
    # of CIFAR's 32 x 32, exported for 224 x 224
    "ssl/FixMatch/FixMatch_cifar10_250.yaml": [3, 32, 32],
    "ssl/FixMatch/FixMatch_cifar10_40.yaml": [3, 32, 32],
    "ssl/FixMatch/FixMatch_cifar10_4000.yaml": [3, 32, 32],
    "ssl/FixMatch/FixMatch_cifar10_40_4gpu.yaml": [3, 32, 32],
}
# Operators that only its training has; tests/conformance/test_operators.py has their numbers.
NOT_IN_DEPLOY = {"CropImageAtRatio"}


def outcome(path: Path) -> tuple[str, InferenceDescription | None]:
    """The kind of outcome of one file, and its description if it is taken."""
    try:
        description = read_description(Source(path))
    except (BundleError, ConversionError) as error:
        kinds = [kind for part, kind in REFUSALS.items() if part in str(error)]
        return kinds[0] if kinds else str(error), None
    return LABELLED if description.labels else UNLABELLED, description


def outcomes(folder: Path) -> tuple[Counter[str], dict[Path, InferenceDescription]]:
    """How many files below a folder have each outcome; and those that are taken."""
    counts: Counter[str] = Counter()
    taken = {}
    for path in sorted(folder.rglob("*.y*ml")):
        kind, description = outcome(path)
        counts[kind] += 1
        if description is not None:
            taken[path] = description
    return counts, taken


def test_the_documentation_has_these_counts(root: Path) -> None:
    text = (root / "docs/descriptions.md").read_text(encoding="utf-8")
    rows = re.findall(r"\n\| (.+) \| (\d+) \| (\d+) \|(?=\n)", text)
    counts = {kind: (int(training), int(deploy)) for kind, training, deploy in rows}
    assert counts.pop("all") == (sum(TRAINING.values()), sum(DEPLOY.values()))
    assert counts == {kind: (TRAINING.get(kind, 0), DEPLOY.get(kind, 0)) for kind in counts}
    assert counts.keys() == TRAINING.keys() | DEPLOY.keys()


@pytest.mark.slow
def test_the_files_of_the_published_package(published: Callable[..., Path]) -> None:
    counts, _ = outcomes(published("paddleclas", "2.6.0", "paddleclas") / "deploy/configs")
    assert counts == DEPLOY
    assert counts.total() == 29


@pytest.mark.slow
def test_the_training_configurations(paddleclas_source: Path) -> None:
    configs = paddleclas_source / "ppcls/configs"
    counts, taken = outcomes(configs)
    assert counts == TRAINING
    assert counts.total() == 501
    sizes = {}
    for path, description in taken.items():
        image = np.zeros((481, 643, 3), np.uint8)
        shape = list(build_preprocess(description.transform_ops)(image).shape)
        document: Any = load_document(path)
        if shape != document.get("Global", {}).get("image_shape", shape):
            sizes[path.relative_to(configs).as_posix()] = shape
    assert sizes == OTHER_SIZE


@pytest.mark.slow
def test_every_list_gives_the_numbers_of_paddleclas(
    paddleclas: Any,  # noqa: F811
    paddleclas_source: Path,
) -> None:
    """One image through each list that differs, bit for bit; planes as its dataset class has it."""
    image = np.random.default_rng(7).integers(0, 256, (301, 457, 3), np.uint8)
    image = cv2.resize(cv2.resize(image, (23, 17)), (457, 301), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".png", image)[1].tobytes()
    lists: dict[str, list[str]] = defaultdict(list)
    for folder in ("ppcls/configs", "deploy/configs"):
        _, taken = outcomes(paddleclas_source / folder)
        for path, description in taken.items():
            operators = [{op.name: dict(op.options)} for op in description.transform_ops]
            lists[json.dumps(operators)].append(path.name)
    assert len(lists) > 40
    for text, files in lists.items():
        operators = json.loads(text)
        if NOT_IN_DEPLOY & {name for operator in operators for name in operator}:
            continue
        # it decodes with DecodeImage, or before the list
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        steps = [operator for operator in operators if "DecodeImage" not in operator]
        for step in paddleclas.create_operators(steps):
            expected = step(expected)
        prepared = build_preprocess(operators)(decode_image(data))
        assert np.array_equal(prepared, expected), files
