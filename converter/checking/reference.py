"""A bundle against scores that the framework itself gave on the same images.

`verify` without this runs the model twice on images prepared in one way, so that it proves nothing
of the preprocessing. Here the bundle's whole way is compared: decode, prepare, predict, activate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bundle import Bundle
from pipeline.classifier import Classifier
from pipeline.predictors import PredictorError, create_predictor
from pipeline.stages.activation import activate
from protocol.errors import ServingError

from ..errors import ConversionError
from .causes import likely_causes
from .images import given_images
from .reference_file import in_class_order, read_reference, rows_by_image
from .verify import checked_bundle, classifier_of

# Scores of one network in two runtimes differ by 1e-7 to 1e-5. Another resize differs by 4e-4 on
# small images and by 0.2 on photographs.
REFERENCE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ImageScores:
    """One image on both sides: scores of every class, and how far they are apart.

    `difference` is relative to the largest score of the reference, where that is above 1.
    """

    image: str
    ours: np.ndarray
    reference: np.ndarray
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether both have the same best class."""
        return bool(self.ours.argmax() == self.reference.argmax())


@dataclass(frozen=True)
class ReferenceComparison:
    """What was compared with the framework's own scores, and what came of it.

    Attributes:
        bundle: the bundle's folder.
        reference: the file of scores.
        runtime: what the bundle ran in.
        labels: the names of the classes.
        images: the compared ones, the one with the largest difference first.
        unreadable: image -> why a service does not take it.
        conversion: what was made of the reference's numbers before they were compared, if anything.
        causes: what most likely makes the difference, where there is one.
        tolerance: the largest difference allowed.
        distinguishes: the reference gives different images different scores.
    """

    bundle: Path
    reference: Path
    runtime: str
    labels: tuple[str, ...]
    images: tuple[ImageScores, ...]
    unreadable: Mapping[str, str]
    conversion: str
    causes: tuple[str, ...]
    tolerance: float
    distinguishes: bool

    @property
    def passed(self) -> bool:
        """Whether the service takes every image, and every score is within the tolerance."""
        return not self.unreadable and self.images[0].difference <= self.tolerance

    @property
    def agreeing(self) -> int:
        """How many images have the same best class."""
        return sum(image.agrees for image in self.images)


def compare_with_reference(
    bundle_dir: Path, reference: Path, images: Path, tolerance: float = REFERENCE_TOLERANCE
) -> ReferenceComparison:
    """Compare the scores that a bundle's service would give with those of a file.

    Args:
        bundle_dir: serving_model/NAME.
        reference: the file; `reference_file` has its forms.
        images: the image, or the folder of images, that they were given on.
        tolerance: the largest difference of one score (0..1, or relative to the largest logit).

    Raises:
        ConversionError: files of the bundle disagree, images and rows do not belong together, or
            the runtime fails.
        BundleError: the bundle is incomplete or damaged.
    """
    bundle = checked_bundle(bundle_dir)
    found = read_reference(reference)
    files, unread = given_images([images])
    try:
        served = classifier_of(bundle, create_predictor(bundle))
        ours, unreadable = _served(served, files)
    except PredictorError as error:
        raise ConversionError(f"{bundle_dir}: {error}") from error
    unreadable.update(dict.fromkeys(unread, "cannot be read from its disk"))
    labels = _labels(bundle, ours)
    found = replace(found, scores=in_class_order(found, labels))
    rows = rows_by_image(found, sorted((*files, *unread), key=Path))
    compared = {image: rows[image] for image in files if image in ours}
    if not compared:
        image, why = next(iter(unreadable.items()))
        raise ConversionError(f"{image}: {why}; no image is left to compare")
    theirs, conversion = _in_our_form(compared, ours)
    pairs = _pairs(ours, theirs)
    differing = {pair.image: files[pair.image] for pair in pairs if pair.difference > tolerance}
    return ReferenceComparison(
        bundle=bundle_dir,
        reference=reference,
        runtime=f"{served.predictor.name}, as served",
        labels=labels,
        images=pairs,
        unreadable=unreadable,
        conversion=conversion,
        causes=tuple(likely_causes(served, differing, theirs)) if differing else (),
        tolerance=tolerance,
        distinguishes=bool(np.ptp(list(theirs.values()), axis=0).max() > 10 * tolerance),
    )


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    """How far two rows of scores are apart; a number that is not finite is infinitely far."""
    apart = float(np.abs(ours - reference).max()) / max(1.0, float(np.abs(reference).max()))
    return apart if np.isfinite(apart) else float("inf")


def _labels(bundle: Bundle, ours: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    if bundle.labels is not None:
        return bundle.labels
    classes = len(next(iter(ours.values()), ()))
    return tuple(map(str, range(classes)))


def _served(
    served: Classifier, files: Mapping[str, bytes]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Image -> scores of all classes, by the classifier's own steps; and why others have none."""
    scores: dict[str, np.ndarray] = {}
    unreadable: dict[str, str] = {}
    activation = served.bundle.description.activation
    for name, data in files.items():
        try:
            array = served.preprocess(served.decode(data))
        except ServingError as error:
            unreadable[name] = str(error)
            continue
        row = activate(served.predictor.predict(array[np.newaxis]), activation)[0]
        scores[name] = row.astype(np.float64)
    return scores, unreadable


def _pairs(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> tuple[ImageScores, ...]:
    pairs = [
        ImageScores(name, ours[name], row, difference(ours[name], row))
        for name, row in theirs.items()
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.difference))


def _in_our_form(
    theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], str]:
    """The reference's scores as probabilities or logits, whichever the bundle gives.

    Raises:
        ConversionError: the bundle gives logits, and the reference probabilities.
    """
    rows = np.stack(list(theirs.values()))
    served = np.stack([ours[name] for name in theirs])
    if _within_one(rows) == _within_one(served):
        return dict(theirs), ""
    if _within_one(rows):
        raise ConversionError(
            "the reference holds probabilities, and the bundle gives logits"
            f" ({served.min():.3g} to {served.max():.3g}): convert it with --softmax (or"
            " --multi-label), or write the logits"
        )
    if np.allclose(rows.sum(axis=1), 100, atol=1):
        return dict(zip(theirs, rows / 100, strict=True)), "the reference is in percent; /100"
    kind = "softmax" if np.allclose(served.sum(axis=1), 1, atol=1e-2) else "sigmoid"
    rows = activate(rows, kind)
    return (
        dict(zip(theirs, rows, strict=True)),
        f"the reference holds logits and the bundle gives probabilities; their {kind} is compared",
    )


def _within_one(rows: np.ndarray) -> bool:
    return bool(rows.min() >= -1e-3 and rows.max() <= 1 + 1e-3)
