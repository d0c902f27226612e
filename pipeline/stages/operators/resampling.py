"""Pixels at other places: OpenCV's resizing and Pillow's, which filter differently.

Pillow's filter widens with the reduction (antialias); OpenCV's reads the same few neighbours
however far an image is reduced. Models answer differently to the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Optional, Tuple, Union

import cv2
import numpy as np

from protocol.errors import TooLarge

from ..errors import PreprocessError

# An image of 1 x 40000 pixels, its short side enlarged to 256, would take gigabytes.
MAX_RESIZED_PIXELS = 100_000_000
# What the short side of a long and thin image may enlarge it to: 1 x 1500 pixels, a file of 200
# bytes, took 1.7 s and 0.9 GB, and a request may have many of them.
_MAX_ENLARGED_PIXELS = 20_000_000

_CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
_PIL = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
# Names that PaddleX and OpenCV have for the same.
_ALIASES = {"linear": "bilinear", "cubic": "bicubic", "lanczos4": "lanczos"}

Box = Tuple[int, int, int, int]


class Resample(ABC):
    """Callable: an image [H, W, C], (width, height) and a box to read -> the resized image.

    The box is (left, top, right, bottom) in pixels; None is the whole image.

    Raises:
        TooLarge: the result would exhaust memory.
    """

    def __call__(
        self, image: np.ndarray, size: Tuple[int, int], box: Optional[Box] = None
    ) -> np.ndarray:
        """Resize `image`; a side is one pixel at least."""
        size = max(1, size[0]), max(1, size[1])
        check_pixels(size)
        return self._resize(image, size, box)

    @abstractmethod
    def _resize(self, image: np.ndarray, size: Tuple[int, int], box: Optional[Box]) -> np.ndarray:
        """Resize what is in `box`; every side has a pixel, and memory is enough."""


def resampler(interpolation: Optional[str], backend: str) -> Resample:
    """The resizing of a library.

    Args:
        interpolation: nearest, bilinear (the default), bicubic, lanczos; cv2 has area too, pil box
            and hamming.
        backend: cv2 or pil.

    Raises:
        PreprocessError: it is not known.
    """
    name = str(interpolation or "bilinear").lower()
    name = _ALIASES.get(name, name)
    library = str(backend).lower()
    if library not in ("cv2", "pil"):
        raise PreprocessError("ResizeImage: backend is cv2 or pil, not {!r}".format(backend))
    known = tuple(_CV2) if library == "cv2" else _PIL
    if name not in known:
        raise PreprocessError(
            "ResizeImage: interpolation is one of {}, not {!r}{}".format(
                ", ".join(known), name, " with backend pil" if library == "pil" else ""
            )
        )
    return _OpenCv(_CV2[name]) if library == "cv2" else _Pillow(name)


def opencv_flag(interp: Union[int, str], what: str) -> int:
    """OpenCV's number of an interpolation, of that number or its name.

    Raises:
        PreprocessError: it is not known; `what` names it.
    """
    name = str(interp).lower()
    name = _ALIASES.get(name, name)
    flag = interp if isinstance(interp, int) and not isinstance(interp, bool) else _CV2.get(name)
    if flag is None or flag not in _CV2.values():
        raise PreprocessError(
            "{} is one of {}, or OpenCV's number of it, not {!r}".format(
                what, ", ".join(_CV2), interp
            )
        )
    return flag


def opencv_resampler(interp: Union[int, str], what: str) -> Resample:
    """OpenCV's resizing; `interp` and errors are those of `opencv_flag`."""
    return _OpenCv(opencv_flag(interp, what))


def check_pixels(size: Tuple[int, int], change: str = "resized") -> None:
    """Refuse a size (width, height) that would exhaust memory.

    Raises:
        TooLarge: it has more than MAX_RESIZED_PIXELS.
    """
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        raise TooLarge(
            "the image is too long and thin: {} for the model it would have {} x {} pixels".format(
                change, *size
            )
        )


def check_enlarged(image: np.ndarray, size: Tuple[int, int]) -> None:
    """Refuse a size (width, height) that follows the short side of a long and thin image.

    What is made smaller may be of any ratio: it costs less than decoding it.

    Raises:
        TooLarge: it is larger than `image` [H, W, C], and has more than 20 million pixels.
    """
    pixels = size[0] * size[1]
    if pixels > max(image.shape[0] * image.shape[1], _MAX_ENLARGED_PIXELS):
        raise TooLarge(
            "the image is too long and thin, {} x {}: enlarged for the model it would have {} x {} "
            "pixels; crop it".format(image.shape[1], image.shape[0], *size)
        )


class _OpenCv(Resample):
    def __init__(self, flag: int) -> None:
        self._flag = flag

    def _resize(self, image: np.ndarray, size: Tuple[int, int], box: Optional[Box]) -> np.ndarray:
        if box is not None:
            left, top, right, bottom = box
            image = image[top:bottom, left:right]
        resized = cv2.resize(image, size, interpolation=self._flag)
        # OpenCV drops the last axis of [H, W, 1].
        return resized.reshape(size[1], size[0], image.shape[2])


class _Pillow(Resample):
    def __init__(self, name: str) -> None:
        try:
            from PIL import Image
        except ImportError as error:
            raise PreprocessError(
                "ResizeImage: backend pil needs Pillow; pip install pillow"
            ) from error
        self._from_array: Any = Image.fromarray
        self._flag: Any = getattr(Image.Resampling, name.upper())

    def _resize(self, image: np.ndarray, size: Tuple[int, int], box: Optional[Box]) -> np.ndarray:
        if image.shape[2] == 3:
            return self._resize_plain(image, size, box)
        # Channel by channel: two and four channels would be taken for alpha.
        planes = [self._resize_plain(plane, size, box) for plane in np.moveaxis(image, 2, 0)]
        return np.stack(planes, axis=2)

    def _resize_plain(
        self, image: np.ndarray, size: Tuple[int, int], box: Optional[Box]
    ) -> np.ndarray:
        """Resize one side after the other, in the order of Pillow 13; older ones began with rows.

        Bytes are rounded between the two, so that the order decides by a few grey levels.
        """
        height, width = image.shape[:2]
        left, top, right, bottom = box or (0, 0, width, height)
        pixels = self._from_array(np.ascontiguousarray(image))
        # A tall image is made lower first: the second pass then has fewer rows to read.
        if height > size[1] and height - size[1] > 2 * (width - size[0]):
            pixels = pixels.resize((width, size[1]), self._flag, box=(0, top, width, bottom))
            box = (left, 0, right, size[1])
        else:
            pixels = pixels.resize((size[0], height), self._flag, box=(left, 0, right, height))
            box = (0, top, size[0], bottom)
        return np.asarray(pixels.resize(size, self._flag, box=box))
