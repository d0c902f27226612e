"""Pixels to the numbers a model was trained on, with a framework's formula and its floats.

For 8-bit pixels a formula has 256 results a channel: a table gives the same floats, several times
faster than arithmetic on the whole image.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Union

import cv2
import numpy as np

from ..errors import PreprocessError
from .number import levels, number, switch

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# float32 of any shape, and mean and deviation that fit it -> float32 of that shape.
Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Normalization:
    """Callable: an image of either layout -> float32 of the same layout.

    Attributes:
        by_pixel: takes pixels [H, W, C]; otherwise planes [C, H, W].
        channels: how many it takes; None: any.
        zero_planes: how many channels of zeros it adds.
    """

    def __init__(
        self,
        formula: Formula,
        mean: np.ndarray,
        std: np.ndarray,
        by_pixel: bool,
        zero_planes: int = 0,
        half: bool = False,
    ) -> None:
        """`mean` and `std` hold one number for all channels, or one for each; `half` rounds."""
        self.by_pixel, self.zero_planes = by_pixel, zero_planes
        count = max(len(mean), len(std))
        self.channels = count if count > 1 else None
        self._formula, self._half = formula, half
        shape = (1, 1, -1) if by_pixel else (-1, 1, 1)
        self._mean, self._std = mean.reshape(shape), std.reshape(shape)
        # [256, C]: what each grey level becomes
        grey = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
        self._table = self._numbers(np.repeat(grey, count, axis=2))[:, 0] if by_pixel else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Normalise either layout; the result has the layout of `image`."""
        result = self._numbers(image)
        if not self.zero_planes:
            return result
        axis = 2 if self.by_pixel else 0
        shape = list(image.shape)
        shape[axis] = self.zero_planes
        return np.concatenate((result, np.zeros(shape, np.float32)), axis=axis)

    def planes(self, image: np.ndarray) -> np.ndarray:
        """Normalise [H, W, C] and return planes, [C, H, W]."""
        if image.dtype != np.uint8 or self._table is None:
            return np.asarray(self(image).transpose(2, 0, 1))
        channels = image.shape[2]
        result = np.empty((channels + self.zero_planes, *image.shape[:2]), np.float32)
        result[channels:] = 0
        for channel, plane in enumerate(cv2.split(image)):
            table = np.ascontiguousarray(self._table[:, min(channel, self._table.shape[1] - 1)])
            cv2.LUT(plane, table, dst=result[channel])
        return result

    def _numbers(self, image: np.ndarray) -> np.ndarray:
        result = self._formula(image.astype(np.float32), self._mean, self._std)
        if self._half:
            result = result.astype(np.float16)
        return np.asarray(result, np.float32)


def normalize_image(
    scale: Union[str, float, None] = None,
    mean: Any = None,  # noqa: ANN401 - YAML
    std: Any = None,  # noqa: ANN401 - YAML
    order: Optional[str] = "chw",
    output_fp16: bool = False,
    channel_num: Optional[int] = None,
    divisor: Union[str, float, None] = None,
    is_scale: Optional[bool] = None,
    norm_type: Optional[str] = None,
) -> Normalization:
    """(pixel * scale - mean) / std in float32, as PaddleClas computes it.

    Args:
        scale: a number or a fraction in text; 1/255 if there is none.
        mean: one number for all channels, or a list with one for each.
        std: likewise.
        order: '' or hwc for pixels, chw for planes.
        output_fp16: round the result to float16.
        channel_num: 4 with three means adds a plane of zeros, as PaddleClas does.
        divisor: in place of `scale`: (pixel / divisor - mean) / std, as torchvision and Keras
            compute it; the two differ in the last bit.
        is_scale: with it, or with `norm_type`, mean and deviation are taken in float64, as
            PaddleDetection does; it says whether pixels are multiplied by 1/255 first.
        norm_type: mean_std, or none: PaddleDetection takes neither then.
    """
    if is_scale is not None or norm_type is not None:
        _only_of_paddledetection(scale, divisor, output_fp16, order)
        return _paddledetection(mean, std, True if is_scale is None else is_scale, norm_type)
    if scale is not None and divisor is not None:
        raise PreprocessError("NormalizeImage: takes scale or divisor, not both")
    means = _channels(_IMAGENET_MEAN if mean is None else mean, "mean")
    stds = _channels(_IMAGENET_STD if std is None else std, "std")
    zero_planes = _zero_planes(channel_num, means, stds)
    return Normalization(
        _scaled(scale) if divisor is None else _divided(divisor),
        means.astype(np.float32),
        stds.astype(np.float32),
        # '' in exported files means pixels [H, W, C]; only 'chw' means planes.
        by_pixel=order != "chw",
        zero_planes=zero_planes,
        half=switch(output_fp16, "NormalizeImage: output_fp16"),
    )


def _scaled(scale: Union[str, float, None]) -> Formula:
    factor = np.float32(1.0 / 255.0 if scale is None else number(scale, "NormalizeImage: scale"))
    return lambda pixels, mean, std: (pixels * factor - mean) / std


def _divided(value: Union[str, float]) -> Formula:
    divisor = np.float32(number(value, "NormalizeImage: divisor"))
    if not divisor:
        raise PreprocessError("NormalizeImage: divisor is a number above 0, not {!r}".format(value))
    return lambda pixels, mean, std: (pixels / divisor - mean) / std


def _paddledetection(
    mean: Any,  # noqa: ANN401 - YAML
    std: Any,  # noqa: ANN401 - YAML
    is_scale: bool,
    norm_type: Optional[str],
) -> Normalization:
    """Pixels are scaled in float32; mean and deviation are float64, each result float32 again."""
    factor = np.float32(1.0 / 255.0 if switch(is_scale, "NormalizeImage: is_scale") else 1.0)
    if norm_type not in (None, "mean_std", "none"):
        raise PreprocessError(
            "NormalizeImage: norm_type is mean_std or none, not {!r}".format(norm_type)
        )
    plain = norm_type == "none"
    if not plain and (mean is None or std is None):
        raise PreprocessError("NormalizeImage: needs mean and std with norm_type mean_std")
    means = _channels(0.0 if plain else mean, "mean")
    stds = _channels(1.0 if plain else std, "std")

    def formula(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        shifted = (pixels * factor - mean).astype(np.float32)
        return np.asarray(shifted / std, np.float32)

    return Normalization(formula, means, stds, by_pixel=True)


def _only_of_paddledetection(*others: Any) -> None:  # noqa: ANN401 - YAML
    scale, divisor, half, order = others
    if scale is not None or divisor is not None or half or order not in ("chw", "", "hwc"):
        raise PreprocessError(
            "NormalizeImage: is_scale and norm_type are PaddleDetection's, and go with mean and "
            "std only"
        )


def _channels(values: Union[float, Sequence[float]], name: str) -> np.ndarray:
    """Read means or deviations, float64 [C]; a single number is one for all channels."""
    what = "NormalizeImage: {}".format(name)
    listed: List[float] = levels(values, what)
    numbers = np.asarray(listed, np.float64)
    if len(numbers) not in (1, 3, 4):
        raise PreprocessError(
            "{} is a number, or a list of three (one for grey, four with a fourth channel), not "
            "{!r}".format(what, values)
        )
    if name == "std" and not numbers.astype(np.float32).all():
        raise PreprocessError("{} is not zero: {!r}".format(what, values))
    return numbers


def _zero_planes(channel_num: Optional[int], means: np.ndarray, stds: np.ndarray) -> int:
    """How many planes of zeros `channel_num` adds; PaddleClas' 4 adds one to three."""
    count = max(len(means), len(stds))
    if min(len(means), len(stds)) not in (1, count):
        raise PreprocessError(
            "NormalizeImage: mean has {} numbers and std {}; give as many".format(
                len(means), len(stds)
            )
        )
    if channel_num is None or channel_num == count or (count == 1 and channel_num in (1, 3)):
        return 0
    if channel_num == 4 and count == 3 and not isinstance(channel_num, bool):
        return 1
    raise PreprocessError(
        "NormalizeImage: channel_num is {!r} and mean has {} numbers; give as many means as "
        "channels, or 4 with three means for PaddleClas' fourth plane of zeros".format(
            channel_num, count
        )
    )
