"""Why a bundle's scores differ from its framework's: other ways to prepare images are tried out.

The ways that make the scores agree are reported. What an image has that libraries read differently
(EXIF orientation, CMYK, alpha) stands beside its difference.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
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

_PRESET_SIDE = 224  # in the names of the presets
_TRIED = 6  # images: the ones that differ most
_CAUSES = 3
# A cause must bring the scores this much nearer to be one.
_NEARER = 5
_ORIENTATION = 0x0112
_MODES = {"L": "grey", "LA": "grey with alpha", "P": "a palette", "RGBA": "alpha", "1": "one bit"}


class _Way(NamedTuple):
    """Another way to prepare an image: what to say of it, and encoded image -> array."""

    text: str
    prepare: Callable[[bytes], np.ndarray]


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
    before = _largest(served, tried, reference, lambda data: served.preprocess(served.decode(data)))
    found = []
    for text, prepare in _ways(served):
        after = _largest(served, tried, reference, prepare)
        if after * _NEARER < before:
            found.append((after, f"{text}: differs by {after:.2g} instead of {before:.2g}"))
    found.sort(key=lambda pair: pair[0])
    causes = [text for _, text in found[:_CAUSES]]
    return causes or _of_order(served, tried, reference)


def image_facts(data: bytes) -> str:
    """Return what an image has that libraries read differently; "" if nothing."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
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
    yield _Way(
        "channels in the order BGR in place of RGB (DecodeImage: {to_rgb: false})",
        lambda data: served.preprocess(np.ascontiguousarray(served.decode(data)[:, :, ::-1])),
    )
    yield _Way(
        "EXIF orientation not applied by the framework (turn images there with"
        " PIL.ImageOps.exif_transpose)",
        lambda data: served.preprocess(_as_stored(data)),
    )
    shape = served.preprocess(np.zeros((512, 512, 3), np.uint8)).shape
    for name in _presets(shape):
        try:
            operators = preset(name) or ()
            pixels = tuple(step for step in operators if step.name != "ToCHWImage")
            for steps in (operators, pixels):
                prepare = build_preprocess(steps)
                if prepare(np.zeros((512, 512, 3), np.uint8)).shape == shape:
                    yield _Way(f"--preprocess {name}", _decoded(served, prepare))
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


def _decoded(
    served: Classifier, prepare: Callable[[np.ndarray], np.ndarray]
) -> Callable[[bytes], np.ndarray]:
    return lambda data: prepare(served.decode(data))


def _as_stored(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:  # which Pillow turns only on request
        return np.asarray(image.convert("RGB"))


def _largest(
    served: Classifier,
    images: Mapping[str, bytes],
    reference: Mapping[str, np.ndarray],
    prepare: Callable[[bytes], np.ndarray],
) -> float:
    """The largest difference of the images' scores, prepared in that way."""
    largest = 0.0
    for name, data in images.items():
        try:
            row = _scores(served, prepare(data))
        except (ServingError, PredictorError, OSError, ValueError):
            return float("inf")
        largest = max(largest, float(np.abs(row - reference[name]).max()))
    return largest


def _scores(served: Classifier, array: np.ndarray) -> np.ndarray:
    outputs = served.predictor.predict(array[np.newaxis])
    row: np.ndarray = activate(outputs, served.bundle.description.activation)[0]
    return row


def _of_order(
    served: Classifier, images: Mapping[str, bytes], reference: Mapping[str, np.ndarray]
) -> list[str]:
    """Whether the rows or the columns of the reference are in another order."""
    ours = {
        name: _scores(served, served.preprocess(served.decode(data)))
        for name, data in images.items()
    }
    close = 1e-2
    if all(np.abs(np.sort(ours[name]) - np.sort(reference[name])).max() < close for name in images):
        return [
            "the same scores in another order of classes: compare the labels with the framework's"
        ]
    moved = {
        name: other
        for name in images
        for other, row in reference.items()
        if other != name and np.abs(ours[name] - row).max() < close
    }
    if len(moved) > len(images) / 2:
        name, other = next(iter(moved.items()))
        return [
            "rows in another order than the sorted files: the scores of"
            f" {name} are those of the row of {other}; write a .csv or .npz with names"
        ]
    return []
