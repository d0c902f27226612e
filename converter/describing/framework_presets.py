"""Presets whose names begin with a framework: `torchvision-224`, `timm:size=384,crop_pct=1`.

    NAME | NAME-SIZE | NAME:option=value[,option=value]

A value of several numbers continues over commas: `mean=0.5,0.5,0.5,std=0.5,0.5,0.5`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bundle.inference_yml import TransformOp

from ..errors import ConversionError
from .framework_ops import (
    CROP_MODES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    INTERPOLATIONS,
    centre_square,
    keras,
    paddleocr_cls,
    timm,
    torchvision,
    ultralytics,
)
from .values import LARGEST

Reader = Callable[[list[str]], Any]


@dataclass(frozen=True)
class FrameworkPreset:
    """What a framework does, by name.

    Attributes:
        build: the values of its options by name -> transform_ops.
        options: how each is read of its texts; the reader raises ValueError with what it takes.
        example: the name shown in lists.
    """

    build: Callable[..., tuple[TransformOp, ...]]
    options: dict[str, Reader]
    example: str


def _pixels(texts: list[str]) -> int:
    if len(texts) != 1 or not texts[0].isascii() or not texts[0].isdigit() or int(texts[0]) < 1:
        raise ValueError("a number of pixels")
    return int(texts[0])


def _size(texts: list[str]) -> tuple[int, int]:
    try:
        sides = [_pixels([text]) for text in texts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise ValueError("one number of pixels, or height,width")
    return sides[0], sides[-1]


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) <= LARGEST:  # nor nan
        raise ValueError(text)
    return value


def _share(texts: list[str]) -> float:
    try:
        value = _number(*texts)
    except (ValueError, TypeError):
        value = 0.0
    if not 0.1 <= value <= 2:
        raise ValueError("a number from 0.1 to 2, for example 0.875")
    return value


def _channels(texts: list[str]) -> tuple[float, ...]:
    try:
        values = [_number(text) for text in texts]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise ValueError("one number, or three for red, green and blue")
    return tuple(values * 3 if len(values) == 1 else values)


def _deviations(texts: list[str]) -> tuple[float, ...]:
    values = _channels(texts)
    if 0 in values:
        raise ValueError("one number, or three for red, green and blue; none of them 0")
    return values


def _choice(*known: str) -> Reader:
    def read(texts: list[str]) -> str:
        if len(texts) != 1 or texts[0].lower() not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return texts[0].lower()

    return read


def _yes_or_no(texts: list[str]) -> bool:
    return bool(_choice("true", "false")(texts) == "true")


_INTERPOLATION = _choice(*INTERPOLATIONS)
_NORMALIZATION: dict[str, Reader] = {"mean": _channels, "std": _deviations}
_KERAS_OPTIONS: dict[str, Reader] = {
    "size": _size,
    "interpolation": _INTERPOLATION,
    "keep_aspect_ratio": _yes_or_no,
    "loader": _choice("load_img", "dataset"),
    "color_mode": _choice("rgb", "grayscale"),
}

FRAMEWORK_PRESETS: dict[str, FrameworkPreset] = {
    "torchvision": FrameworkPreset(
        torchvision,
        {
            "resize": _pixels,
            "crop": _pixels,
            "interpolation": _INTERPOLATION,
            **_NORMALIZATION,
            "grayscale": _yes_or_no,
        },
        "torchvision-224",
    ),
    "timm": FrameworkPreset(
        timm,
        {
            "size": _size,
            "crop_pct": _share,
            "crop_mode": _choice(*CROP_MODES),
            "interpolation": _INTERPOLATION,
            **_NORMALIZATION,
        },
        "timm-224",
    ),
    "ultralytics": FrameworkPreset(ultralytics, {"size": _size}, "ultralytics-224"),
    "ultralytics-8.0": FrameworkPreset(centre_square, {"size": _pixels}, "ultralytics-8.0-224"),
    "yolov5-cls": FrameworkPreset(
        partial(centre_square, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        {"size": _pixels},
        "yolov5-cls-224",
    ),
    **{
        f"keras-{mode}": FrameworkPreset(partial(keras, mode), _KERAS_OPTIONS, f"keras-{mode}-224")
        for mode in ("caffe", "tf", "torch", "pixels")
    },
    "paddleocr-cls": FrameworkPreset(paddleocr_cls, {"size": _size}, "paddleocr-cls"),
}


def framework_preset(text: str) -> tuple[TransformOp, ...] | None:
    """The transform_ops of a preset of a framework; None if `text` names none.

    Raises:
        ConversionError: it names one, and an option or a value is not known.
    """
    name, colon, rest = text.partition(":")
    if not colon:
        name, rest = _with_size(text)
    preset = FRAMEWORK_PRESETS.get(name)
    if preset is None:
        return None
    values = {}
    for option, texts in _pairs(rest, text, preset.options):
        try:
            values[option] = preset.options[option](texts)
        except ValueError as error:
            given = ",".join(texts)
            raise ConversionError(
                f"--preprocess {text}: {option} is {error}, not {given!r}"
            ) from error
    _check(name, values, text)
    if values.get("grayscale"):
        values.update({option: values[option][:1] for option in ("mean", "std")})
    return preset.build(**values)


def fitting_preset(text: str, feed: tuple[int, ...], dtype: str) -> str:
    """The preset of the same framework that gives what a feed takes.

    Args:
        text: a preset that does not.
        feed: the shape of one image, planes or pixels.
        dtype: of the feed; whole numbers are pixels.

    Returns:
        Its name with options; "" if `text` is no preset of a framework, or sizes are open.
    """
    name, _, rest = text.partition(":")
    name = name if name in FRAMEWORK_PRESETS else name.rpartition("-")[0]
    if name not in FRAMEWORK_PRESETS or len(feed) != 3:
        return ""
    height, width = feed[1:] if feed[0] in (1, 3) else feed[:2]
    if min(height, width) < 1:
        return ""
    size = f"size={height}" if height == width else f"size={height},{width}"
    if name == "torchvision":
        size = f"resize=R,crop={height}" if height == width else ""
    if name.startswith("keras") and dtype.startswith(("int", "uint")):
        name = "keras-pixels"
    kept = [
        f"{option}={','.join(texts)}"
        for option, texts in _pairs(rest, text, FRAMEWORK_PRESETS[name].options)
        if option not in ("size", "resize", "crop")
    ]
    return f"{name}:{','.join([size, *kept])}" if size else ""


def _with_size(text: str) -> tuple[str, str]:
    """`keras-tf-299` -> `keras-tf`, `size=299`; torchvision has no one size."""
    name, dash, size = text.rpartition("-")
    if not dash or not size.isdigit() or name not in FRAMEWORK_PRESETS:
        return text, ""
    if name != "torchvision":
        return name, f"size={size}"
    if int(size) != 224:
        raise ConversionError(
            f"--preprocess {text}: its weights resize to different sizes before they crop"
            f" {size}; give both numbers: torchvision:resize=R,crop={size} (the transforms of the"
            " weights have them as resize_size and crop_size)"
        )
    return name, ""


def _pairs(rest: str, text: str, options: dict[str, Reader]) -> list[tuple[str, list[str]]]:
    """Split `a=1,b=2,3` into options and their texts."""
    pairs: list[tuple[str, list[str]]] = []
    for part in rest.split(",") if rest else []:
        option, equals, value = part.partition("=")
        option = option.strip()
        if not equals:
            if not pairs:
                raise ConversionError(
                    f"--preprocess {text}: {part!r} is not option=value; the options are"
                    f" {', '.join(options)}"
                )
            pairs[-1][1].append(part.strip())
            continue
        if option not in options:
            close = difflib.get_close_matches(option, options, n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ConversionError(
                f"--preprocess {text}: has no option {option!r} (its options:"
                f" {', '.join(options)}){meant}"
            )
        if option in dict(pairs):
            raise ConversionError(f"--preprocess {text}: {option} is given twice; keep one")
        pairs.append((option, [value.strip()]))
    return pairs


def _check(name: str, values: dict[str, Any], text: str) -> None:
    """Refuse what is not known to be equal to the framework."""
    if values.get("loader") == "dataset" and values.get("interpolation", "bilinear") != "bilinear":
        # TensorFlow's other filters are not those of OpenCV.
        raise ConversionError(
            f"--preprocess {text}: with loader=dataset the interpolation is bilinear, not"
            f" {values['interpolation']}; others are not served"
        )
    if values.get("color_mode") == "grayscale" and (
        values.get("loader") == "dataset" or name not in ("keras-tf", "keras-pixels")
    ):
        # TensorFlow takes the luminance plane of a JPEG; caffe and torch have three means.
        raise ConversionError(
            f"--preprocess {text}: color_mode=grayscale goes with loader=load_img and with"
            " keras-tf or keras-pixels; for another normalisation give a list of transform_ops"
        )
    if values.get("grayscale") and any(
        len(set(values.get(option, (0, 1)))) > 1 for option in ("mean", "std")
    ):
        raise ConversionError(
            f"--preprocess {text}: grayscale=true needs mean and std of one number each, those of"
            " Normalize in your training (mean=0,std=1 where there is none)"
        )
