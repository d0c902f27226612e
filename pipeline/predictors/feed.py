"""What preprocessing gives against what a model's feed takes: shape, element type, range.

A wrong pair of the two runs without an error and gives wrong scores, so it is found by running the
preprocessing on a few images before anything is served. Kept clean for Python 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import numpy as np

from bundle.model_config import TensorSpec
from protocol.errors import InvalidRequest

Prepare = Callable[[np.ndarray], np.ndarray]

# Landscape, odd and larger than what is usually cut out.
SURVEY_SIZE = (481, 643)
_SMALLER = (224, 96, 32, 16, 4)
# Colours that show the range, and greys whose numbers are whole only if nothing is normalised.
_COLOURS = (
    (0, 0, 0),
    (255, 255, 255),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (1, 1, 1),
    (127, 127, 127),
    (128, 128, 128),
)
_CHANNELS = (1, 3, 4)
# What to do for a model of so many channels, where preprocessing gives other ones.
_MEND_CHANNELS = {
    1: "the model takes one channel: begin transform_ops with Grayscale and give NormalizeImage one"
    " mean and one std, as the model was trained (docs/preprocessing.md, Grey and four channels)",
    3: "the model takes three channels: take Grayscale or channel_num: 4 out of transform_ops",
    4: "the model takes four channels: channel_num: 4 of NormalizeImage adds PaddleClas' plane of"
    " zeros; an alpha channel is not decoded, so a model that needs it cannot be served",
}
# From black to white, models of images take a range of 1 to 255: pixels, or a few deviations.
_NARROWEST, _WIDEST = 0.25, 256.0


@dataclass(frozen=True)
class Prepared:
    """What preprocessing gives, as far as a few images show.

    Attributes:
        shape: of the array of one image.
        lowest: the smallest number that an image of one colour gives.
        highest: the largest.
        width: how far white is from black, at most, in one place.
        whole: such images give whole numbers only.
    """

    shape: Tuple[int, ...]
    lowest: float
    highest: float
    width: float
    whole: bool


def as_feed(batch: np.ndarray, feed: TensorSpec) -> np.ndarray:
    """Return prepared images as the feed takes them, contiguous.

    Whole numbers are rounded to, not cut off, and stay within the type's range: a resize of floats
    gives 126.7 or 255.3 where one of bytes gives 127 and 255. The only channel of grey images is
    taken away where the feed has no dimension for it.
    """
    target = np.dtype(feed.dtype)
    if target.kind in "iu" and batch.dtype.kind == "f":
        limits = np.iinfo(target)
        batch = np.clip(np.rint(batch), limits.min, limits.max)
    batch = np.ascontiguousarray(batch, target)
    if len(feed.shape) == 2 and batch.ndim == 4:
        batch = batch.reshape(len(batch), *_without_channel(batch.shape[1:]))
    return batch


def size_taken(prepare: Prepare, size: Tuple[int, int] = SURVEY_SIZE) -> Tuple[int, int]:
    """Return `size` (height, width), or a smaller one where preprocessing takes no such image.

    Padding to a size takes no larger image, and a crop no smaller one.

    Raises:
        ServingError: of `prepare`, for an image of `size`, if none of these sizes is taken.
    """
    try:
        prepare(np.zeros((*size, 3), np.uint8))
    except InvalidRequest:
        for side in _SMALLER:
            try:
                prepare(np.zeros((side, side, 3), np.uint8))
            except InvalidRequest:
                continue
            return side, side
        raise
    return size


def survey(prepare: Prepare, size: Tuple[int, int] = SURVEY_SIZE) -> Prepared:
    """Prepare images of one colour each, uint8 [*size, 3], and look at the arrays.

    A resize leaves such an image as it is, so that its numbers show what the other steps do.

    Raises:
        ServingError: of `prepare`: it takes no image of this size, nor a smaller one.
    """
    size = size_taken(prepare, size)
    arrays: List[np.ndarray] = []
    for colour in _COLOURS:
        image = np.empty((*size, 3), np.uint8)
        image[:] = colour
        arrays.append(np.asarray(prepare(image), np.float32))
    return Prepared(
        shape=arrays[0].shape,
        lowest=min(float(array.min()) for array in arrays),
        highest=max(float(array.max()) for array in arrays),
        width=float(np.abs(arrays[0] - arrays[1]).max()),
        # 255 of NormalizeImage with a scale of 1 may be 254.99998
        whole=all(bool((np.abs(array - np.rint(array)) < 1e-3).all()) for array in arrays),
    )


def misfit(prepared: Prepared, feed: TensorSpec, *, open_left_out: bool = False) -> Optional[str]:
    """Return why the model cannot take what preprocessing gives, and what to do; None if it can.

    Args:
        prepared: from `survey`.
        feed: the model's only feed, an image.
        open_left_out: its shape may lack open dimensions, as those of 0.9's converter do.
    """
    if not fits(prepared.shape, feed.shape, open_left_out=open_left_out):
        return "preprocessing gives {}, the model's input {!r} is {}; {}".format(
            list(prepared.shape), feed.name, list(feed.shape), _mend_shape(prepared.shape, feed)
        )
    if not feed.dtype.startswith(("int", "uint")):
        return None
    limits = np.iinfo(feed.dtype)
    within = limits.min <= prepared.lowest and prepared.highest <= limits.max
    if prepared.whole and within:
        return None
    taken = " from {} to {}".format(limits.min, limits.max) if limits.max < 2**16 else ""
    return (
        "preprocessing gives {} from {:.4g} to {:.4g}, the model's input {!r} takes whole numbers{}"
        " ({}); {}".format(
            "whole numbers" if prepared.whole else "fractions",
            prepared.lowest,
            prepared.highest,
            feed.name,
            taken,
            feed.dtype,
            _mend_numbers(feed),
        )
    )


def doubt(prepared: Prepared, feed: TensorSpec) -> Optional[str]:
    """Return why what preprocessing gives is most likely wrong, for a feed that takes it; or None.

    A feed of floats takes any number. Pixels from 0 to 255 are right where the graph normalises
    them itself, so only a range that no model is trained on is reported.
    """
    if not feed.dtype.startswith("float") or _NARROWEST <= prepared.width <= _WIDEST:
        return None
    narrow = prepared.width < _NARROWEST
    return "from black to white, preprocessing gives numbers from {:.4g} to {:.4g}, {}".format(
        prepared.lowest,
        prepared.highest,
        "which is next to nothing: is scale applied to pixels whose mean and std are from 0 to 255,"
        " or applied twice?"
        if narrow
        else "more than pixels have: is scale (1/255) missing beside a mean and std from 0 to 1?",
    )


def fits(given: Tuple[int, ...], wanted: Tuple[int, ...], *, open_left_out: bool) -> bool:
    """Whether the array of one image has the shape of the feed; see `misfit`."""
    if len(wanted) == 2 and len(given) == 3:
        given = _without_channel(given)
    if len(given) == len(wanted):
        return all(want in (-1, have) for want, have in zip(wanted, given))
    if not open_left_out or len(wanted) > len(given):
        return False
    rest = iter(given)
    return all(want in rest for want in wanted)  # each behind the one before


def _without_channel(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """[H, W] of planes or pixels with one channel; other shapes as they are."""
    if shape[0] == 1:
        return shape[1:]
    return shape[:-1] if shape[-1] == 1 else shape


def _mend_shape(given: Tuple[int, ...], feed: TensorSpec) -> str:
    wanted = feed.shape
    if given[-1] in _CHANNELS and wanted[:1] == given[-1:]:
        return "end transform_ops with ToCHWImage"
    if given[0] in _CHANNELS and wanted[-1:] == given[:1]:
        return "take ToCHWImage out of transform_ops"
    if len(wanted) != 3:
        return "images are [C, H, W] or [H, W, C]: export a model that takes those, with a batch"
    have = _channels(given)
    need = _channels(wanted)
    if need != have and need in _MEND_CHANNELS:
        return _MEND_CHANNELS[need]
    if need is None and -1 not in (wanted[0], wanted[-1]):
        return (
            "images have one, three or four channels, so no preprocessing helps: export a model"
            " that takes [N, 3, H, W] or [N, H, W, 3]"
        )
    return "correct the sizes in transform_ops"


def _channels(shape: Tuple[int, ...]) -> Optional[int]:
    """How many channels an array of one image has, by its first or last side; None: no image's."""
    for side in (shape[0], shape[-1]):
        if side in _CHANNELS:
            return side
    return None


def _mend_numbers(feed: TensorSpec) -> str:
    if feed.dtype == "int8":
        # as graphs that were quantised after training take them
        return (
            "give the pixels less 128, in place of any other normalisation:"
            " NormalizeImage: {scale: 1, mean: [128, 128, 128], std: [1, 1, 1], order: ''}"
        )
    return (
        "the model takes pixels from 0 to 255 and does the rest itself: take NormalizeImage out of"
        " transform_ops, for example give --preprocess a file with the line{}".format(_lines(feed))
    )


def _lines(feed: TensorSpec) -> str:
    """The shortest list of operators that gives such a feed its pixels."""
    planes = len(feed.shape) == 3 and feed.shape[0] in _CHANNELS
    sides = feed.shape[1:] if planes else feed.shape[:2]
    height, width = (side if side > 0 else 224 for side in (*sides, -1, -1)[:2])
    lines = ["- ResizeImage: {{size: [{}, {}]}}".format(width, height)]
    lines += ["- ToCHWImage:"] if planes else []
    keras = " (for a model of Keras, keras-pixels-{})".format(width) if width == height else ""
    return "{} {}{}".format("s" if planes else "", " and ".join(map(repr, lines)), keras)
