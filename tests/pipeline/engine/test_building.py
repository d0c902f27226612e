"""What a worker runs: the steps of images in a thread or a process give the same results."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from bundle import load_bundle
from pipeline.classifier import Classifier
from pipeline.engine.building import _Classifying
from pipeline.engine.preparing import is_usual
from pipeline.engine.work import EACH_FACT, FACT, Pace
from protocol.errors import ServingError, UndecodableImage
from protocol.reply import ImageResult
from protocol.request import EncodedImage
from tests.patience import PATIENCE_S

BUDGET = (PATIENCE_S, 2 * PATIENCE_S, True)


class Mean:
    """Scores six classes by what the model is fed, so that other numbers give other scores."""

    name = "mean"

    def predict(self, batch: np.ndarray) -> np.ndarray:
        means = batch.mean(axis=(1, 2, 3))[:, None]
        rows: np.ndarray = np.abs(means - np.linspace(-2, 2, 6, dtype=np.float32)) / 10
        return rows


class OwnPostprocess(Classifier):
    def postprocess(self, scores: np.ndarray, topk: int, threshold: Any) -> Any:
        return super().postprocess(scores, 2, threshold)


class OwnDecode(Classifier):
    """Reads text as a grey image; the decode process would know nothing of it."""

    def decode(self, data: bytes) -> np.ndarray:
        if data.startswith(b"text"):
            return np.full((256, 256, 3), 50, np.uint8)
        return super().decode(data)


class OwnClassify(Classifier):
    def classify(self, images: Sequence[EncodedImage]) -> list[ImageResult]:  # type: ignore[override]
        return super().classify(images)


def made(kind: type[Classifier], root: Path) -> Classifier:
    return kind(load_bundle(root / "serving_model" / "waste"), Mean())


@pytest.fixture
def images() -> list[EncodedImage]:
    rng = np.random.default_rng(5)
    drawn = [rng.integers(0, 255, (240, 260 + i, 3), np.uint8) for i in range(4)]
    return [EncodedImage(cv2.imencode(".jpg", image)[1].tobytes()) for image in drawn]


def as_png(image: EncodedImage) -> EncodedImage:
    pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return EncodedImage(cv2.imencode(".png", pixels)[1].tobytes())


class Threads(Classifier):
    """Notes in which thread each image was decoded."""

    seen: ClassVar[list[int]] = []

    def decode(self, data: bytes) -> np.ndarray:
        self.seen.append(threading.get_ident())
        return super().decode(data)


def test_small_jpegs_alone_are_prepared_without_the_decode_thread(
    root: Path, images: list[EncodedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.building.is_usual", lambda _classifier: True)
    classifier = made(Threads, root)
    running = _Classifying(classifier)
    here = threading.get_ident()

    def threads_of(batch: Sequence[EncodedImage]) -> set[int]:
        Threads.seen.clear()
        assert shown(running.answer(batch, [])) == shown(Classifier.classify(classifier, batch))
        return set(Threads.seen[: len(batch)])

    assert threads_of(images) == {here}
    assert here not in threads_of([*images, as_png(images[0])])
    damaged = EncodedImage(images[0].data[:-100])
    assert threads_of([images[1], damaged]) == {here}


def shown(results: Sequence[ImageResult]) -> list[Any]:
    return [str(result) if isinstance(result, ServingError) else result for result in results]


def test_thread_and_process_give_the_results_of_the_worker_itself(
    root: Path, images: list[EncodedImage]
) -> None:
    classifier = made(Classifier, root)
    mixed = [images[0], EncodedImage(b"text"), *images[1:], EncodedImage(b"")]
    expected = shown(classifier.classify(mixed))
    running = _Classifying(classifier)
    try:
        assert shown(running.answer(mixed, [])) == expected
        assert running.stages_s["decode"] > 0
        assert running.rest_after_s is None
        assert shown(running.answer(mixed, [BUDGET] * len(mixed))) == expected
        assert running.stages_s["decode"] > 0
        assert running.rest_after_s is not None
    finally:
        running.rest()
    assert running.rest_after_s is None  # the process is given back


def test_an_image_over_its_budget_fails_alone_in_its_batch(
    root: Path, images: list[EncodedImage]
) -> None:
    running = _Classifying(made(Classifier, root))
    heavy = cv2.imencode(".png", np.full((7000, 7000, 3), 77, np.uint8))[1].tobytes()
    try:
        bounds = [BUDGET, (0.01, 2 * PATIENCE_S, True), BUDGET]
        results = running.answer([images[0], EncodedImage(heavy), images[1]], bounds)
        assert isinstance(results[1], UndecodableImage)
        assert not any(isinstance(result, ServingError) for result in (results[0], results[2]))
    finally:
        running.rest()


def test_a_heavy_image_does_not_wait_for_the_start_of_the_decode_process(
    root: Path, images: list[EncodedImage]
) -> None:
    classifier = made(Classifier, root)
    running = _Classifying(classifier)
    expected = shown(classifier.classify(images))
    try:
        budget = (PATIENCE_S, PATIENCE_S, False)
        assert shown(running.answer(images[:1], [budget])) == expected[:1]
        assert running.stages_s["decode"] > 0
        assert running._steps is not None
        assert running._steps.process.last_s == 0.0  # it has decoded nothing
        assert running.rest_after_s is not None  # and is there for the next one
        assert shown(running.answer(images, [BUDGET] * len(images))) == expected
    finally:
        running.rest()


def test_what_follows_in_a_batch_after_worn_threads_is_decoded_in_the_process(
    root: Path, images: list[EncodedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = made(Classifier, root)
    running = _Classifying(classifier)
    assert running._steps is not None
    images = [as_png(image) for image in images]  # of which a few bytes may be much work
    prepared = running._steps._thread.prepared
    monkeypatch.setattr(running._steps._thread, "prepared", lambda all_, s: prepared(all_[:1], s))
    try:
        assert shown(running.answer(images, [])) == shown(classifier.classify(images))
        assert running.rest_after_s is not None  # the process is up
    finally:
        running.rest()


@pytest.mark.parametrize(
    ("kind", "usual"),
    [(Classifier, True), (OwnPostprocess, True), (OwnDecode, False), (OwnClassify, False)],
)
def test_steps_of_a_users_own_run_as_they_are(
    root: Path, images: list[EncodedImage], kind: type[Classifier], usual: bool
) -> None:
    classifier = made(kind, root)
    assert is_usual(classifier) is usual
    running = _Classifying(classifier)
    try:
        sent = [*images, EncodedImage(b"text")]
        expected = shown(classifier.classify(sent))
        assert shown(running.answer(sent, [BUDGET] * len(sent))) == expected
        assert (running.rest_after_s is None) is not usual
    finally:
        running.rest()


def test_the_pace_is_measured_at_the_start(root: Path) -> None:
    facts = _Classifying(made(Classifier, root)).facts
    pace = Pace(10.0)
    pace.measured(facts)
    assert pace.typical_s == facts[FACT]
    assert 1e-5 < facts[FACT] < 1


class SlowForEach(Classifier):
    """Takes 50 ms for each image, whatever its size."""

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        began = time.thread_time()
        while time.thread_time() - began < 0.05:
            pass
        return super().preprocess(image)


def test_what_each_image_takes_is_no_matter_of_its_pixels(root: Path) -> None:
    facts = _Classifying(made(SlowForEach, root)).facts
    assert facts[EACH_FACT] == pytest.approx(0.05, rel=0.5)
    # As a matter of its pixels, it would be more than 80 ms a megapixel.
    assert facts[FACT] < 0.03
    pace = Pace(10.0)
    pace.measured(facts)
    for _ in range(1000):  # small images, as most are
        pace.learn(1, 0.1, {"decode": 0.05})
    assert pace.decode_s(48.0) < 48 * 0.03
    assert pace.run_s(1, 0.1) == pytest.approx(0.05, rel=0.5)


class Broken(OwnDecode):
    def decode(self, data: bytes) -> np.ndarray:
        raise RuntimeError(f"a defect over {len(data)} bytes")


def test_a_pace_that_cannot_be_measured_is_left_out(root: Path) -> None:
    assert FACT not in _Classifying(made(Broken, root)).facts
