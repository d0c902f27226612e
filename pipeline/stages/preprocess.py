"""Decoded image -> the array a model is fed, as its `inference.yml` describes it.

The operators are those of PaddleClas, PaddleX, PaddleDetection, PaddleOCR and Ultralytics, and give
the numbers of the project whose names they bear, bit for bit (tests/conformance). Normalisation of
8-bit pixels is a table of 256 entries a channel: exact, and several times faster than arithmetic on
the whole image.
"""

from __future__ import annotations

import inspect
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from .errors import PreprocessError
from .operators.grayscale import Grayscale
from .operators.normalize import Normalization
from .operators.refused import reason_against
from .operators.step import Step
from .operators.table import OPERATORS, PIXELS, PLANES, TO_PLANES, Row

# Those of PaddleClas' configurations are fewer than ten; each may resize to the largest image.
MAX_STEPS = 64


class Operator(NamedTuple):
    """One entry of `transform_ops`: its name and its options."""

    name: str
    options: Mapping[str, Any]


class Preprocess:
    """Callable: uint8 [H, W, 3] RGB -> contiguous float32 [C, H', W'], or [H', W', C].

    `short_side` is the size of the first resize, for decoding at a fraction of the size.
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        self._steps: List[Step] = [_build(operator) for operator in operators]
        _check_chain(operators, self._steps)
        self.short_side = _short_side(operators)
        self._fused: Optional[Normalization] = None
        # The usual end: normalise pixel by pixel, then planes. One pass does both.
        if len(self._steps) >= 2 and operators[-1].name in ("ToCHWImage", "Permute"):
            last = self._steps[-2]
            if isinstance(last, Normalization) and last.by_pixel:
                self._fused = last
                self._steps = self._steps[:-2]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the array of one image.

        Raises:
            InvalidRequest: the image is smaller than the crop of the model.
            TooLarge: the image is so long and thin that resizing it would exhaust memory.
        """
        for step in self._steps:
            image = step(image)
        if self._fused is not None:
            image = self._fused.planes(image)
        return np.ascontiguousarray(image, dtype=np.float32)


def build_preprocess(transform_ops: Sequence[Any]) -> Preprocess:
    """Build from `transform_ops`: objects with `name` and `options`, or the YAML's one-key maps.

    Raises:
        PreprocessError: an unknown operator or option, a value that is not usable, or more steps
            than any framework writes.
    """
    if len(transform_ops) > MAX_STEPS:
        raise PreprocessError(
            "transform_ops has {} operators, more than {}; write those that are needed".format(
                len(transform_ops), MAX_STEPS
            )
        )
    return Preprocess([_operator(entry) for entry in transform_ops])


def _operator(entry: Any) -> Operator:  # noqa: ANN401 - YAML, or a bundle's TransformOp
    if isinstance(entry, Mapping):
        if len(entry) != 1:
            raise PreprocessError(
                "each entry of transform_ops is one operator, not {}".format(entry)
            )
        name, options = next(iter(entry.items()))
        return Operator(str(name), options or {})
    if isinstance(entry, str):
        return Operator(entry, {})
    return Operator(entry.name, entry.options or {})


def _check_chain(operators: Sequence[Operator], steps: Sequence[Step]) -> None:
    """Find operators that do not fit what those before them give.

    Rows are taken for channels on the wrong side of ToCHWImage; a mean of each channel needs as
    many channels.
    """
    planes = floats = turned = False
    channels = 3
    for (name, options), step in zip(operators, steps):
        row = OPERATORS[name]
        if floats and row.needs_bytes(options):
            raise PreprocessError(
                "{}: {} 8-bit pixels, and an operator before it makes floats of them".format(
                    name, "pil resizes" if name.startswith("Resize") else "takes"
                )
            )
        _check_layout(name, row, step, planes)
        if isinstance(step, Grayscale):
            if turned or channels != 3:
                raise PreprocessError(
                    "Grayscale: takes RGB; take out {}".format(
                        "to_rgb: False before it" if turned else "the second one"
                    )
                )
            channels = step.channels
        if isinstance(step, Normalization):
            _check_channels(name, step, channels)
            channels += step.zero_planes
        floats = floats or row.floats(options)
        planes = planes or row.layout == TO_PLANES
        turned = turned or (name == "DecodeImage" and options.get("to_rgb") is False)


def _check_layout(name: str, row: Row, step: Step, planes: bool) -> None:
    if planes and row.layout in (PIXELS, TO_PLANES):
        raise PreprocessError("{} must come before ToCHWImage, not after it".format(name))
    if not planes and row.layout == PLANES:
        raise PreprocessError("{} must come after ToCHWImage, not before it".format(name))
    if isinstance(step, Normalization) and step.by_pixel == planes:
        raise PreprocessError(
            "NormalizeImage: order is {} ToCHWImage".format("chw after" if planes else "'' before")
        )


def _check_channels(name: str, step: Normalization, channels: int) -> None:
    if step.channels in (None, channels):
        return
    mend = "give one of each" if channels == 1 else "give three, or one for all"
    if step.channels == 4:
        mend = (
            "images are decoded without alpha; for the fourth plane of zeros of PaddleClas, give "
            "three and channel_num: 4"
        )
    raise PreprocessError(
        "{}: mean or std has {} numbers and the image {} {} here; {}".format(
            name, step.channels, channels, "channel" if channels == 1 else "channels", mend
        )
    )


def _build(operator: Operator) -> Step:
    row = OPERATORS.get(operator.name)
    if row is None:
        reason = reason_against(operator.name)
        if reason:
            raise PreprocessError("{} {}".format(operator.name, reason))
        raise PreprocessError(
            "unknown operator {} in transform_ops; known: {}".format(
                operator.name, ", ".join(OPERATORS)
            )
        )
    if not isinstance(operator.options, Mapping):
        raise PreprocessError(
            "{} takes options by name, not {!r}".format(operator.name, operator.options)
        )
    try:
        return row.build(**operator.options)
    except TypeError as error:
        raise PreprocessError(
            "{} does not take these options: {}; it takes {}".format(
                operator.name,
                dict(operator.options),
                ", ".join(inspect.signature(row.build).parameters) or "none",
            )
        ) from error


def _short_side(operators: Sequence[Operator]) -> Optional[int]:
    for operator in operators:
        longest = OPERATORS[operator.name].longest
        if longest is not None:
            return longest(operator.options) or None
    return None
