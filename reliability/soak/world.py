"""The services under test: one model twice, each with labels of its own, so that mixing shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.bare import ROOT, BareLimit
from benchmarks.images import image_files

from .judge import TOLERANCE

BUNDLE = ROOT / "serving_model" / "waste"
CLASSES = 6
# Name, workers, categories an answer.
SERVICES = (("first", 2, 6), ("second", 1, 3))
TIMEOUT_S = 5.0
RETRIES = 1
QUEUE_SIZE = 64
MAX_BODY_MB = 4


@dataclass(frozen=True)
class Images:
    """Encoded images, and the scores that each of them must get, [images][classes]."""

    encoded: list[bytes]
    scores: list[list[float]]


class World:
    """The files that the service reads, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yml"
        self.write_labels(0)
        self.config.write_text(self._config_text(), encoding="utf-8")

    def labels_file(self, service: str) -> Path:
        """Return the file of a service."""
        return self.folder / f"{service}.txt"

    def write_labels(self, generation: int) -> None:
        """Write labels that name their service, the reload they came with, and their class."""
        for name, _, _ in SERVICES:
            lines = [f"{name} {generation} {class_id}" for class_id in range(CLASSES)]
            self._replace(self.labels_file(name), "\n".join(lines))

    @contextlib.contextmanager
    def broken(self, how: str) -> Iterator[None]:
        """Have a configuration that must be refused, for as long as the context lasts."""
        sound = self._config_text()
        broken = {
            "no YAML": sound.replace("op:", "op: ]["),
            "an unknown key": sound.replace("timeout:", "tmeout:"),
            "no such bundle": sound.replace(str(BUNDLE), str(self.folder / "nowhere")),
            "too few labels": sound,
        }[how]
        self._replace(self.config, broken)
        labels = self.labels_file(SERVICES[0][0])
        kept = labels.read_text(encoding="utf-8")
        if how == "too few labels":
            self._replace(labels, "one\ntwo")
        try:
            yield
        finally:
            self._replace(labels, kept)
            self._replace(self.config, sound)

    def _config_text(self) -> str:
        lines = [f"max_body_mb: {MAX_BODY_MB}", f"dag: {{channel_size: {QUEUE_SIZE}}}", "op:"]
        for name, workers, topk in SERVICES:
            lines += [
                f"  {name}:",
                f"    concurrency: {workers}",
                f"    topk: {topk}",
                f"    timeout: {TIMEOUT_S * 1000:.0f}",
                f"    retry: {RETRIES}",
                f"    labels: {self.labels_file(name)}",
                f'    local_service_conf: {{model_config: "{BUNDLE}", devices: "", thread_num: 1}}',
            ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        """Write whole or not at all: the service may read at any moment."""
        beside = path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def make_images(folder: Path, seed: int, count: int = 48) -> Images:
    """Draw images, take the samples too, and keep those that their scores tell apart."""
    rng = np.random.default_rng(seed)
    files = image_files(ROOT / "examples" / "images", 16)
    for number in range(count):
        image = np.full((240, 320, 3), rng.integers(60, 255, 3), np.uint8)
        for _ in range(int(rng.integers(2, 9))):
            centre = tuple(int(v) for v in rng.integers(0, 240, 2))
            colour = tuple(int(v) for v in rng.integers(0, 255, 3))
            cv2.circle(image, centre, int(rng.integers(10, 90)), colour, -1)
        path = folder / f"drawn{number}{'.png' if number % 4 == 0 else '.jpg'}"
        cv2.imwrite(str(path), image)
        files.append(path)
    bare = BareLimit(BUNDLE, files, 1)
    answers = bare.answers
    bare.close()
    kept: list[int] = []
    for number, scores in enumerate(answers):
        # Also the best three must tell them apart: the second service answers no more.
        if all(_distance(scores, answers[other]) > 20 * TOLERANCE for other in kept):
            kept.append(number)
    return Images([files[n].read_bytes() for n in kept], [answers[n] for n in kept])


def _distance(one: list[float], other: list[float]) -> float:
    best = zip(sorted(one, reverse=True)[:3], sorted(other, reverse=True)[:3], strict=True)
    return max(abs(a - b) for a, b in best)
