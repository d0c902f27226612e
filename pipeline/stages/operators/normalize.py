"""Pixels to the numbers a model was trained on, with PaddleClas' formula and its floats.

For 8-bit pixels the formula has 256 results a channel: a table gives the same floats, several times
faster than arithmetic on the whole image.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Union

import cv2
import numpy as np

from ..errors import PreprocessError


class NormalizeImage:
    """(pixel * scale - mean) / std in float32, channel by channel.

    With `divisor` it is (pixel / divisor - mean) / std, as torchvision and Keras compute it: the
    two differ in the last bit.
    """

    def __init__(
        self,
        scale: Union[str, float, None] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        order: Optional[str] = "chw",
        output_fp16: bool = False,
        channel_num: int = 3,
        divisor: Optional[float] = None,
    ) -> None:
        if channel_num != 3:
            raise PreprocessError("NormalizeImage: channel_num is 3, not {}".format(channel_num))
        if output_fp16:
            raise PreprocessError(
                "NormalizeImage: output_fp16 is not known; models are fed float32"
            )
        # '' in exported files means pixels [H, W, 3]; only 'chw' means planes.
        self.by_pixel = order != "chw"
        shape = (1, 1, 3) if self.by_pixel else (3, 1, 1)
        if scale is not None and divisor is not None:
            raise PreprocessError("NormalizeImage: takes scale or divisor, not both")
        self._scale = np.float32(_number(scale) if scale is not None else 1.0 / 255.0)
        if not np.isfinite(self._scale):
            raise PreprocessError(
                "NormalizeImage: scale is a finite number, not {!r}".format(scale)
            )
        self._divisor = None if divisor is None else _divisor(divisor)
        self._mean = _three(mean or (0.485, 0.456, 0.406), "mean").reshape(shape)
        self._std = _three(std or (0.229, 0.224, 0.225), "std").reshape(shape)
        self._tables: List[np.ndarray] = []
        if self.by_pixel:
            pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
            table = self(np.repeat(pixels, 3, axis=2))
            self._tables = [np.ascontiguousarray(table[:, 0, c]) for c in range(3)]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Normalise either layout; the result has the layout of `image`."""
        pixels = image.astype(np.float32)
        scaled = pixels * self._scale if self._divisor is None else pixels / self._divisor
        return np.asarray((scaled - self._mean) / self._std, np.float32)

    def planes(self, image: np.ndarray) -> np.ndarray:
        """Normalise [H, W, 3] and return [3, H, W]."""
        if image.dtype != np.uint8:
            return np.asarray(self(image).transpose(2, 0, 1))
        result = np.empty((3, *image.shape[:2]), np.float32)
        for plane, table, target in zip(cv2.split(image), self._tables, result):
            cv2.LUT(plane, table, dst=target)
        return result


def _number(value: Union[str, float]) -> float:
    """Read 0.0039, "1/255" or "1.0/255.0" without evaluating text as code."""
    numerator, slash, denominator = str(value).partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError) as error:
        raise PreprocessError(
            "NormalizeImage: scale is a number or a fraction such as 1.0/255.0, not {!r}".format(
                value
            )
        ) from error


def _divisor(value: object) -> np.ndarray:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    divisor = np.asarray(value if number else 0, np.float32)
    if not np.isfinite(divisor) or not divisor.all():
        raise PreprocessError(
            "NormalizeImage: divisor is a number, for example 255, not {!r}".format(value)
        )
    return divisor


def _three(values: Sequence[float], name: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, np.float64).astype(np.float32)
    except (TypeError, ValueError):
        numbers = np.empty(0, np.float32)
    zero = name == "std" and not numbers.all()
    if numbers.shape != (3,) or zero or not np.isfinite(numbers).all():
        raise PreprocessError("NormalizeImage: {} is three numbers, not {!r}".format(name, values))
    return numbers
