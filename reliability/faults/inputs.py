"""The inputs of both services: one model as `.pdmodel`, and images with their right results."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare import BareLimit
from bundle import load_bundle
from converter.bundling.convert import ConvertOptions, convert
from converter.reading.exported_model import read_export
from converter.targets.program_writer import write_program

from ..images import BUNDLE, draw_images

SERVICE = "waste"
WORKERS = 2
TIMEOUT_S = 5.0
QUEUE_SIZE = 32


@dataclass(frozen=True)
class Inputs:
    """Files in `folder`; `best` holds label and score of each encoded image."""

    folder: Path
    bundle: Path
    images: list[bytes]
    best: list[tuple[str, float]]


def make_inputs(folder: Path, seed: int = 1) -> Inputs:
    """Write the embedded model in the form that Paddle Serving 0.9 reads, and draw images."""
    bundle = _program_bundle(folder)
    images = draw_images(folder, seed)
    labels = load_bundle(bundle).labels
    if labels is None:
        raise SystemExit(f"error: {bundle} has no labels")
    best = []
    for scores in images.scores:
        number = max(range(len(scores)), key=scores.__getitem__)
        best.append((labels[number], scores[number]))
    return Inputs(folder, bundle, images.encoded, best)


def _program_bundle(folder: Path) -> Path:
    source = BUNDLE / "serving_server"
    export = folder / "export"
    export.mkdir()
    read = read_export(source)
    write_program(read.model_file, read.graph, export / "inference.pdmodel")
    for name in ("inference.pdiparams", "inference.yml"):
        shutil.copy(source / name, export)
    return convert(ConvertOptions(export, folder / "bundle")).path


def check_same_scores(inputs: Inputs) -> None:
    """Check that the model in this form gives the scores of its own form.

    Raises:
        SystemExit: it does not.
    """
    paths = []
    for number, image in enumerate(inputs.images[:4]):
        path = inputs.folder / f"check{number}"
        path.write_bytes(image)
        paths.append(path)
    bare = BareLimit(inputs.bundle, paths, 1)
    bare.close()
    for scores, (label, score) in zip(bare.scores, inputs.best, strict=False):
        if abs(max(scores) - score) > 1e-4:
            raise SystemExit(f"error: the .pdmodel gives {max(scores)} for {label} {score}")
