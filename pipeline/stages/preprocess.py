"""Decoded image -> the array a model is fed, as its `inference.yml` describes it.

The operators are those of PaddleClas and PaddleX exports and give PaddleClas' own numbers
(deploy/python/preprocess.py), bit for bit. Normalisation of 8-bit pixels is a table of 256 entries
a channel: exact, and several times faster than arithmetic on the whole image.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from .errors import PreprocessError
from .operators.crop import crop_image
from .operators.layout import decode_image, to_chw_image, to_float32
from .operators.normalize import NormalizeImage
from .operators.resize import resize_image
from .operators.step import Step, pair


class Operator(NamedTuple):
    """One entry of `transform_ops`: its name and its options."""

    name: str
    options: Mapping[str, Any]


class Preprocess:
    """Callable: uint8 [H, W, 3] RGB -> contiguous float32 [C, H', W'].

    `short_side` is the size of the first resize, for decoding at a fraction of the size.
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        self._steps: List[Step] = [_build(operator) for operator in operators]
        _check_layout(operators)
        self.short_side = _short_side(operators)
        self._fused: Optional[NormalizeImage] = None
        # The usual end: normalise pixel by pixel, then planes. One pass does both.
        if len(self._steps) >= 2 and operators[-1].name == "ToCHWImage":
            last = self._steps[-2]
            if isinstance(last, NormalizeImage) and last.by_pixel:
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
        PreprocessError: an unknown operator or option, or a value that is not usable.
    """
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


def _check_layout(operators: Sequence[Operator]) -> None:
    """Find operators on the wrong side of ToCHWImage; they would take rows for channels."""
    planes = floats = False
    for name, options in operators:
        floats = floats or name == "ToFloat32"
        if floats and name == "ResizeImage" and str(options.get("backend", "")).lower() == "pil":
            raise PreprocessError("ResizeImage: pil resizes 8-bit pixels; take out ToFloat32")
        if planes and name != "NormalizeImage":
            raise PreprocessError("{} must come before ToCHWImage, not after it".format(name))
        if name == "NormalizeImage":
            by_planes = options.get("order", "chw") == "chw"
            if by_planes != planes:
                raise PreprocessError(
                    "NormalizeImage: order is {} ToCHWImage".format(
                        "chw after" if planes else "'' before"
                    )
                )
        planes = planes or name == "ToCHWImage"


def _build(operator: Operator) -> Step:
    build = _OPERATORS.get(operator.name)
    if build is None:
        raise PreprocessError(
            "unknown operator {} in transform_ops; known: {}".format(
                operator.name, ", ".join(_OPERATORS)
            )
        )
    if not isinstance(operator.options, Mapping):
        raise PreprocessError(
            "{} takes options by name, not {!r}".format(operator.name, operator.options)
        )
    try:
        return build(**operator.options)
    except TypeError as error:
        raise PreprocessError(
            "{} does not take these options: {}; it takes {}".format(
                operator.name,
                dict(operator.options),
                ", ".join(inspect.signature(build).parameters) or "none",
            )
        ) from error


def _short_side(operators: Sequence[Operator]) -> Optional[int]:
    for operator in operators:
        if operator.name == "CropImage":
            return None  # it counts in pixels of the whole image
        if operator.name == "ResizeImage":
            short = operator.options.get("resize_short") or 0
            if short > 0:
                return math.ceil(short)
            return max(pair(operator.options.get("size"), "ResizeImage: size"))
    return None


_OPERATORS: Dict[str, Callable[..., Step]] = {
    "DecodeImage": decode_image,
    "ToFloat32": to_float32,
    "ResizeImage": resize_image,
    "CropImage": crop_image,
    "NormalizeImage": NormalizeImage,
    "ToCHWImage": to_chw_image,
}
