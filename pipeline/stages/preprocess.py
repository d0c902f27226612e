"""Decoded image -> the array a model is fed, as its `inference.yml` describes it.

The operators are those of PaddleClas and PaddleX exports and give PaddleClas' own numbers
(deploy/python/preprocess.py), bit for bit. Normalisation of 8-bit pixels is a table of 256 entries
a channel: exact, and several times faster than arithmetic on the whole image.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from protocol.errors import InvalidRequest, TooLarge

from .errors import PreprocessError
from .normalize import NormalizeImage

# An image of 1 x 40000 pixels, its short side enlarged to 256, would take gigabytes.
MAX_RESIZED_PIXELS = 100_000_000

Step = Callable[[np.ndarray], np.ndarray]

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


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
            return max(_pair(operator.options.get("size"), "ResizeImage: size"))
    return None


def _pair(value: Any, what: str) -> Tuple[int, int]:  # noqa: ANN401 - YAML
    numbers = [value, value] if isinstance(value, int) else value
    good = isinstance(numbers, (list, tuple)) and len(numbers) == 2
    if not good or not all(isinstance(n, int) and n > 0 and n is not True for n in numbers):
        raise PreprocessError("{} must be a size or [width, height], not {!r}".format(what, value))
    return numbers[0], numbers[1]


def _decode_image(
    to_rgb: bool = True,
    channel_first: bool = False,
    to_np: bool = False,  # noqa: ARG001 - written by PaddleClas; arrays are all we have
    backend: str = "cv2",  # noqa: ARG001 - images are decoded as cv2 does, before any operator
) -> Step:
    """Images come decoded as RGB; a model that wants BGR gets its channels turned."""
    if channel_first:
        raise PreprocessError("DecodeImage: channel_first is not known; use ToCHWImage")
    if not isinstance(to_rgb, bool):
        raise PreprocessError("DecodeImage: to_rgb is true or false, not {!r}".format(to_rgb))
    return (lambda image: image) if to_rgb else (lambda image: image[:, :, ::-1])


def _resize_image(
    size: Any = None,  # noqa: ANN401 - YAML
    resize_short: Optional[float] = None,
    max_long: Optional[int] = None,
    interpolation: Optional[str] = None,
    backend: str = "cv2",
    return_numpy: bool = True,  # noqa: ARG001 - PaddleClas writes it; arrays are all we have
) -> Step:
    resize = _resizer(interpolation, backend)
    if resize_short is not None and (
        isinstance(resize_short, bool) or not isinstance(resize_short, (int, float))
    ):
        raise PreprocessError(
            "ResizeImage: resize_short is a number of pixels, not {!r}".format(resize_short)
        )
    if resize_short is not None and resize_short > 0:  # otherwise size counts, as in PaddleClas
        short = float(resize_short)
        if max_long is not None and (not isinstance(max_long, int) or max_long < 1):
            raise PreprocessError(
                "ResizeImage: max_long is a number of pixels, not {!r}".format(max_long)
            )

        def step(image: np.ndarray) -> np.ndarray:
            height, width = image.shape[:2]
            # In PaddleClas' order of operations: the rounding depends on it.
            ratio = short / min(width, height)
            # PaddleX' max_size: the long side's limit, where both cannot be had
            if max_long is not None and np.round(ratio * max(width, height)) > max_long:
                ratio = max_long / max(width, height)
            return resize(image, (int(round(width * ratio)), int(round(height * ratio))))

        return step
    if size is None:
        raise PreprocessError("ResizeImage needs size or resize_short above 0")
    fixed = _pair(size, "ResizeImage: size")
    return lambda image: resize(image, fixed)


def _resizer(
    interpolation: Optional[str], backend: str
) -> Callable[[np.ndarray, Tuple[int, int]], np.ndarray]:
    name = str(interpolation or "bilinear").lower()
    if str(backend).lower() == "pil":
        return _pillow_resizer(name)
    if str(backend).lower() != "cv2":
        raise PreprocessError("ResizeImage: backend is cv2 or pil, not {!r}".format(backend))
    if name not in _INTERPOLATIONS:
        raise PreprocessError(
            "ResizeImage: interpolation is one of {}, not {!r}".format(
                ", ".join(_INTERPOLATIONS), name
            )
        )
    flag = _INTERPOLATIONS[name]

    def resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        _check_resized(size)
        return cv2.resize(image, size, interpolation=flag)

    return resize


def _pillow_resizer(name: str) -> Callable[[np.ndarray, Tuple[int, int]], np.ndarray]:
    """Pillow filters differently from OpenCV; some models were trained with it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise PreprocessError(
            "ResizeImage: backend pil needs Pillow; pip install pillow"
        ) from error
    flag = getattr(Image.Resampling, name.upper(), None)
    if flag is None:
        raise PreprocessError("ResizeImage: pil has no interpolation {!r}".format(name))

    def resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        _check_resized(size)
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, flag))

    return resize


def _check_resized(size: Tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        raise TooLarge(
            "the image is too long and thin: resized for the model it would have "
            "{} x {} pixels".format(*size)
        )


def _crop_image(size: Any) -> Step:  # noqa: ANN401 - YAML
    width, height = _pair(size, "CropImage: size")

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        if have_h < height or have_w < width:
            raise InvalidRequest(
                "the image has {} x {} pixels and the model needs {} x {}; "
                "send a larger one".format(have_w, have_h, width, height)
            )
        left, top = (have_w - width) // 2, (have_h - height) // 2
        return image[top : top + height, left : left + width]

    return step


def _to_float32() -> Step:
    """Make pixels floats before they are resized, as PaddleX 1.x does; PaddleClas has no such."""
    return lambda image: image.astype(np.float32)


def _to_chw_image() -> Step:
    return lambda image: image.transpose(2, 0, 1)


_OPERATORS: Dict[str, Callable[..., Step]] = {
    "DecodeImage": _decode_image,
    "ToFloat32": _to_float32,
    "ResizeImage": _resize_image,
    "CropImage": _crop_image,
    "NormalizeImage": NormalizeImage,
    "ToCHWImage": _to_chw_image,
}
