from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import BundleError, load_bundle
from bundle.thresholds import Thresholds
from pipeline.classifier import (
    ClasOp,
    Classifier,
    ClassifierSettings,
    load_classifier,
)
from pipeline.predictors import PredictorError, PredictorOptions
from protocol.errors import InvalidRequest, PredictionFailed, ServingError, UndecodableImage
from protocol.request import EncodedImage

SIZE = 224


class FakePredictor:
    """Scores six classes by the mean of the image; records the batches it was given."""

    name = "fake"

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.scores: Any = None

    def predict(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(batch.shape)
        if self.scores is not None:
            return np.asarray(self.scores, np.float32)
        means = batch.mean(axis=(1, 2, 3))
        # Dark images are of class 0, bright ones of class 5.
        best = np.clip(((means + 2.2) / 4.8 * 6).astype(int), 0, 5)
        return np.eye(6, dtype=np.float32)[best] * 0.9 + np.float32(0.1 / 6)


def grey(value: int, size: int = 300) -> EncodedImage:
    image = np.full((size, size, 3), value, np.uint8)
    return EncodedImage(cv2.imencode(".png", image)[1].tobytes())


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def classifier(root: Path, predictor: FakePredictor) -> Classifier:
    return Classifier(load_bundle(root / "serving_model" / "waste"), predictor)


def best(results: Any) -> list[int]:
    return [result[0].class_id for result in results]


def test_images_go_through_the_model_as_one_batch(
    classifier: Classifier, predictor: FakePredictor
) -> None:
    results = classifier.classify([grey(0), grey(255), grey(120)])
    assert predictor.batches == [(3, 3, SIZE, SIZE)]
    assert best(results)[:2] == [0, 5]
    assert results[0][0].label == "可回收物/纸板"
    assert len(results[0]) == 1


def test_a_bad_image_fails_alone(classifier: Classifier, predictor: FakePredictor) -> None:
    results = classifier.classify([grey(0), EncodedImage(b"text"), grey(255)])
    assert predictor.batches == [(2, 3, SIZE, SIZE)]
    assert isinstance(results[1], UndecodableImage)
    assert best([results[0], results[2]]) == [0, 5]


def test_only_bad_images_never_reach_the_model(
    classifier: Classifier, predictor: FakePredictor
) -> None:
    assert isinstance(classifier.classify([EncodedImage(b"text")])[0], UndecodableImage)
    assert predictor.batches == []


def test_each_caller_gets_the_topk_and_threshold_it_asked_for(classifier: Classifier) -> None:
    one, three, all_, none = classifier.classify(
        [
            grey(0),
            grey(0)._replace(topk=3),
            grey(0)._replace(topk=99),
            grey(0)._replace(topk=6, threshold=0.95),
        ]
    )
    assert [len(result) for result in (one, three, all_, none)] == [1, 3, 6, 0]


def test_scores_that_are_not_finite_fail_their_own_image(
    classifier: Classifier, predictor: FakePredictor
) -> None:
    predictor.scores = [[0.5, 0.5, 0, 0, 0, 0], [np.nan, 1, 0, 0, 0, 0]]
    good, bad = classifier.classify([grey(0), grey(1)])
    assert good[0].class_id == 0
    assert isinstance(bad, PredictionFailed)


def test_a_wrong_number_of_rows_is_never_handed_out(
    classifier: Classifier, predictor: FakePredictor
) -> None:
    predictor.scores = [[1, 0, 0, 0, 0, 0]]
    with pytest.raises(PredictorError, match="1 rows of scores for 2 images"):
        classifier.classify([grey(0), grey(1)])


@pytest.mark.parametrize(
    ("recorded", "scores", "warned"),
    [
        ("none", [5, -3, 0, 0, 0, 0], True),
        ("none", [0.5, 0.1, 0, 0, 0, 0], True),  # these happen to look like probabilities
        ("softmax", [1, 0, 0, 0, 0, 0], False),
        (None, [5, -3, 0, 0, 0, 0], True),  # a bundle of 0.9: only the range says so
        ("sigmoid", [5, -3, 0, 0, 0, 0], True),  # the graph was read wrongly
        (None, [0.5, 0.1, 0, 0, 0, 0], False),
    ],
)
def test_logits_are_warned_of_once_as_the_bundle_records_them(
    root: Path,
    predictor: FakePredictor,
    caplog: pytest.LogCaptureFixture,
    recorded: str | None,
    scores: list[float],
    warned: bool,
) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    classifier = Classifier(replace(bundle, output_activation=recorded), predictor)
    predictor.scores = [scores]
    classifier.classify([grey(0)])
    classifier.classify([grey(0)])
    assert caplog.text.count("raw logits") == warned


def test_several_labels_over_a_softmax_are_served_with_a_warning(
    root: Path, predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle of before; a conversion refuses it now."""
    bundle = load_bundle(root / "serving_model" / "waste")
    several = replace(bundle.description, multi_label=True, thresholds=Thresholds(0.5), topk=0)
    classifier = Classifier(replace(bundle, description=several), predictor)
    assert best(classifier.classify([grey(0)])) == [0]
    classifier.classify([grey(0)])
    assert caplog.text.count("at most one label reaches 0.5") == 1


def test_logits_that_are_meant_are_not_warned_of(
    root: Path, predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    meant = replace(bundle.description, activation="none")
    predictor.scores = [[5, -3, 0, 0, 0, 0]]
    classifier = Classifier(replace(bundle, description=meant, output_activation="none"), predictor)
    assert classifier.classify([grey(0)])[0][0].score == 5
    assert caplog.text == ""


def test_thresholds_by_class_hold_unless_the_service_or_a_request_gives_one(
    root: Path, predictor: FakePredictor
) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    thresholds = Thresholds(0.5, {1: 0.1, 2: 0.95})
    several = replace(bundle.description, multi_label=True, thresholds=thresholds, topk=0)
    bundle = replace(bundle, description=several, output_activation="sigmoid")
    predictor.scores = [[0.6, 0.2, 0.9, 0.4, 0.5, 0]]

    def classes(classifier: Classifier, **options: Any) -> list[int]:
        (result,) = classifier.classify([grey(0)._replace(**options)])
        assert not isinstance(result, ServingError)
        return [category.class_id for category in result]

    classifier = Classifier(bundle, predictor)
    assert classes(classifier) == [0, 4, 1]
    assert classes(classifier, threshold=0.3) == [2, 0, 4, 3]
    assert classes(Classifier(bundle, predictor, threshold=0.8)) == [2]


def test_warming_up_runs_the_batch_sizes(classifier: Classifier, predictor: FakePredictor) -> None:
    classifier.warm_up(range(1, 4))
    assert [shape[0] for shape in predictor.batches] == [1, 2, 3]


def test_labels_that_do_not_fit_are_found_at_warm_up(root: Path, predictor: FakePredictor) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    classifier = Classifier(bundle, predictor, labels=("one", "two"))
    with pytest.raises(BundleError, match="2 labels, too few for the model's 6 classes"):
        classifier.warm_up([1])


class Inverted(ClasOp):
    """What a user may write: another step, everything else as it is."""

    def decode(self, data: bytes) -> np.ndarray:
        if data == b"forbidden":
            raise InvalidRequest("not this one")
        return 255 - super().decode(data)


def test_a_subclass_changes_one_step(root: Path, predictor: FakePredictor) -> None:
    classifier = Inverted(load_bundle(root / "serving_model" / "waste"), predictor)
    results = classifier.classify([grey(0), EncodedImage(b"forbidden")])
    assert results[0][0].class_id == 5
    assert isinstance(results[1], InvalidRequest)


def test_settings_travel_as_json() -> None:
    settings = ClassifierSettings(
        "serving_model/waste", topk=3, predictor=PredictorOptions(threads=4), threshold=0.5
    )
    assert ClassifierSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("name", ["nowhere:Class", "pipeline.classifier:Nobody", "pipeline", ""])
def test_a_class_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BundleError, match="there is no classifier"):
        load_classifier(ClassifierSettings("x", classifier=name))


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("os:path", "is a module"),
        ("os:getcwd", "is no class but a builtin_function_or_method"),
        ("pipeline.classifier:logger", "is no class but a Logger"),
        ("json:JSONDecoder", "is a class of another kind"),
    ],
)
def test_what_is_no_class_of_ours_is_named(name: str, described: str) -> None:
    with pytest.raises(BundleError, match=f"the classifier '{name}' {described}; name a subclass"):
        load_classifier(ClassifierSettings("x", classifier=name))


def test_an_unknown_backend_is_named(root: Path) -> None:
    model = str(root / "serving_model" / "waste")
    with pytest.raises(
        PredictorError, match="no backend 'magic'; known: auto, onnxruntime, paddle"
    ):
        load_classifier(ClassifierSettings(model, backend="magic"))
