"""Why a bundle's scores differ from its framework's: other ways to prepare images are tried out.

The ways that make the scores agree are reported. What an image has that libraries read differently
(EXIF orientation, CMYK, alpha) stands beside its difference.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.classifier import Classifier
from pipeline.predictors import PredictorError
from pipeline.stages.activation import activate
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

from ..describing.presets import preset, preset_names
from ..errors import ConversionError
from .images import shown

_PRESET_SIDE = 224  # in the names of the presets
_TRIED = 6  # images: the ones that differ most
_CAUSES = 3
# A cause must bring the scores this much nearer to be one.
_NEARER = 5
_NOISE = 1e-5  # of runtimes
_ORIENTATION = 0x0112
_MODES = {"L": "grey", "LA": "grey with alpha", "P": "a palette", "RGBA": "alpha", "1": "one bit"}


Pixels = Callable[[bytes], np.ndarray]
Prepare = Callable[[np.ndarray], np.ndarray]


class _Way(NamedTuple):
    """Another way to prepare images: what to say of it, and pixels -> array."""

    text: str
    prepare: Prepare


class _Outcome(NamedTuple):
    """What another way makes of the tried images: those it explains, and by what they differ."""

    text: str
    explained: Mapping[str, float]
    by_pillow: Sequence[str]  # of them, those that agree only if Pillow decodes them


def likely_causes(
    served: Classifier, images: Mapping[str, bytes], reference: Mapping[str, np.ndarray]
) -> list[str]:
    """Return what most likely makes the scores differ, the best explanation first.

    Args:
        served: the bundle's classifier.
        images: the encoded images, those that differ most first.
        reference: image -> scores of the framework.
    """
    tried = dict(list(images.items())[:_TRIED])
    before = {
        name: _apart(served, served.preprocess, served.decode, data, reference[name])
        for name, data in tried.items()
    }
    outcomes = [_outcome(served, way, tried, before, reference) for way in _ways(served)]
    outcomes.sort(key=_rank)
    best = outcomes[0]
    causes = []
    for found in outcomes[:_CAUSES]:
        as_good = _rank(found)[0] == _rank(best)[0] and _rank(found)[1] <= 10 * _rank(best)[1]
        if best.text and as_good and 2 * len(found.explained) >= len(tried):
            causes.append(
                f"{found.text}: {len(found.explained)} of {len(tried)} images would differ by"
                f" {max(found.explained.values()):.2g} at most"
            )
    causes += _of_decoding({name: tried[name] for name in best.by_pillow})
    return causes or _of_order(served, tried, before, reference)


def _rank(found: _Outcome) -> tuple[int, float]:
    """Ways that explain most images come first, and of those the nearest; noise is none."""
    return -len(found.explained), max([_NOISE, *found.explained.values()])


def _of_decoding(images: Mapping[str, bytes]) -> list[str]:
    """What is said of images that agree once Pillow decodes them, and does not turn them."""
    turned = [name for name, data in images.items() if _orientation(data) > 1]
    others = [
        f"{name} ({image_facts(data)})" for name, data in images.items() if name not in turned
    ]
    causes = []
    if turned:
        causes.append(
            "EXIF orientation that the framework did not apply, and the service does (turn images"
            f" there with PIL.ImageOps.exif_transpose): {shown(turned)}"
        )
    if others:
        causes.append(
            "pixels as Pillow decodes them; the service decodes as OpenCV does"
            f" (docs/preprocessing.md lists the differences): {shown(others)}"
        )
    return causes


def _outcome(
    served: Classifier,
    way: _Way,
    images: Mapping[str, bytes],
    before: Mapping[str, float],
    reference: Mapping[str, np.ndarray],
) -> _Outcome:
    explained: dict[str, float] = {}
    by_pillow = []
    for name, data in images.items():
        apart = _apart(served, way.prepare, served.decode, data, reference[name])
        if apart * _NEARER >= before[name]:
            apart = _apart(served, way.prepare, _by_pillow, data, reference[name])
            if apart * _NEARER < before[name]:
                by_pillow.append(name)
        if apart * _NEARER < before[name]:
            explained[name] = apart
    return _Outcome(way.text, explained, by_pillow)


def image_facts(data: bytes) -> str:
    """Return what an image has that libraries read differently; "" if nothing."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = _orientation(data)
            facts = [f"{image.format} {image.width}x{image.height}"]
            if image.mode != "RGB":
                facts.append(_MODES.get(image.mode, image.mode))
            if orientation not in (0, 1):
                facts.append(f"EXIF orientation {orientation}")
            if "icc_profile" in image.info:
                facts.append("a colour profile")
            if getattr(image, "n_frames", 1) > 1:
                facts.append(f"{image.n_frames} frames")
    except (OSError, ValueError, SyntaxError):
        return "no image that Pillow reads"
    return ", ".join(facts)


def _ways(served: Classifier) -> Iterator[_Way]:
    yield _Way("", served.preprocess)  # with Pillow's pixels
    yield _Way(
        "channels in the order BGR in place of RGB (DecodeImage: {to_rgb: false})",
        lambda image: served.preprocess(np.ascontiguousarray(image[:, :, ::-1])),
    )
    shape = served.preprocess(np.zeros((512, 512, 3), np.uint8)).shape
    tried = []
    for name in _presets(shape):
        try:
            operators = preset(name) or ()
            if operators in tried:
                continue
            tried.append(operators)
            pixels = tuple(step for step in operators if step.name != "ToCHWImage")
            for steps in (operators, pixels):
                prepare = build_preprocess(steps)
                if prepare(np.zeros((512, 512, 3), np.uint8)).shape == shape:
                    yield _Way(f"--preprocess {name}", prepare)
                    break
        except (PreprocessError, ServingError, ConversionError):
            continue


def _presets(shape: tuple[int, ...]) -> Iterator[str]:
    """Presets that may give arrays of this shape, with options for its size."""
    side = sorted(shape)[-1]
    for name in preset_names():
        yield name if side == _PRESET_SIDE else name.replace(f"-{_PRESET_SIDE}", f"-{side}")
    # what the weights of torchvision resize to before the crop: 256, 232, or the crop's own size
    resizes = {round(side * 256 / 224), side, side + 8, 232, 256}
    for resize in sorted(resize for resize in resizes if resize >= side):
        for interpolation in ("bilinear", "bicubic"):
            yield f"torchvision:resize={resize},crop={side},interpolation={interpolation}"


def _orientation(data: bytes) -> int:
    """EXIF's orientation; 1: upright, or none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError):
        return 1


def _by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:  # which Pillow turns only on request
        return np.asarray(image.convert("RGB"))


def _apart(
    served: Classifier, prepare: Prepare, pixels: Pixels, data: bytes, reference: np.ndarray
) -> float:
    """The largest difference of an image's scores, prepared in that way."""
    try:
        return float(np.abs(_scores(served, prepare(pixels(data))) - reference).max())
    except (ServingError, PredictorError, OSError, ValueError):
        return float("inf")


def _scores(served: Classifier, array: np.ndarray) -> np.ndarray:
    outputs = served.predictor.predict(array[np.newaxis])
    row: np.ndarray = activate(outputs, served.bundle.description.activation)[0]
    return row


def _of_order(
    served: Classifier,
    images: Mapping[str, bytes],
    before: Mapping[str, float],
    reference: Mapping[str, np.ndarray],
) -> list[str]:
    """Whether the rows or the columns of the reference are in another order."""
    ours = {
        name: _scores(served, served.preprocess(served.decode(data)))
        for name, data in images.items()
    }

    def near(name: str, ordered: np.ndarray, other: np.ndarray) -> bool:
        return float(np.abs(ordered - other).max()) * _NEARER < before[name]

    if all(near(name, np.sort(ours[name]), np.sort(reference[name])) for name in images):
        return ["the same scores in another order of classes: compare the labels on both sides"]
    moved = {
        name: other
        for name in images
        for other, row in reference.items()
        if other != name and near(name, ours[name], row)
    }
    if 2 * len(moved) > len(images):
        name, other = next(iter(moved.items()))
        return [
            f"rows in another order than the sorted files: the scores of {name} stand in the row of"
            f" {other}; write a .csv or .npz with names"
        ]
    return []
