"""What PaddleClas' phone demo (deploy/lite) reads beside a model: labels.txt and config.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bundle.inference_yml import InferenceDescription
from pipeline.stages.operators.number import number

from ..reading.activation import SCORES
from .target import Source

LABELS, CONFIG = "labels.txt", "config.txt"

# Where the demo's files are pushed to; a computer cannot write to an app's own folder.
PHONE_FOLDER = "/data/local/tmp/arm_cpu"


def write_for_demo(
    source: Source, staging: Path, files: dict[str, str], model: str
) -> tuple[str, ...]:
    """Write labels and config.txt as the demo reads them; returns what it cannot do."""
    labels = source.bundle.labels
    if labels is None:
        return (f"{CONFIG} and {LABELS} are left out: the bundle has no labels",)
    # It drops everything before the first space of a line, so the number must stand there.
    numbered = [f"{number} {label}" for number, label in enumerate(labels)]
    (staging / LABELS).write_text("\n".join(numbered) + "\n", encoding="utf-8")
    files[LABELS] = f"{len(labels)} labels with their numbers, as the phone demo reads them"
    try:
        short_side, side = _demo_sizes(source)
    except _BeyondDemoError as error:
        return (f"{CONFIG} is left out, for the phone demo cannot run this model: {error}",)
    settings = {
        "clas_model_file": f"{PHONE_FOLDER}/{model}",
        "label_path": f"{PHONE_FOLDER}/{LABELS}",
        "resize_short_size": short_side,
        "crop_size": side,
        "visualize": 0,
        "num_threads": 1,
        "batch_size": 1,
        "precision": "FP32",
        "runtime_device": "arm_cpu",
        "enable_benchmark": 0,
        "tipc_benchmark": 0,
    }
    lines = [f"{key} {value}\n" for key, value in settings.items()]
    (staging / CONFIG).write_text("".join(lines), encoding="utf-8")
    files[CONFIG] = "the phone demo's settings"
    if source.model.graph.activations[source.answering] not in SCORES:
        return ("the scores are raw logits; the phone demo shows those above 0 only",)
    return ()


class _BeyondDemoError(Exception):
    """The demo would prepare images otherwise than the model needs, and answer wrongly."""


def _demo_sizes(source: Source) -> tuple[int, int]:
    """The short side to resize to and the square to cut out; the demo knows nothing else."""
    if source.answering != 0:
        raise _BeyondDemoError("it reads the first output, and the scores are another")
    if source.fixed_batch not in (None, 1):
        raise _BeyondDemoError(
            f"the model takes {source.fixed_batch} images a run, and it gives one"
        )
    steps = _steps(source.bundle.description)
    if list(steps) not in (
        ["ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"],
        ["ResizeImage", "CropImage", "ToCHWImage", "NormalizeImage"],
    ):
        raise _BeyondDemoError(
            f"it resizes the short side, crops and normalises; the model needs {', '.join(steps)}"
        )
    resize, normalize = steps["ResizeImage"], steps["NormalizeImage"]
    short_side = resize.get("resize_short")
    if not isinstance(short_side, int) or short_side <= 0:
        raise _BeyondDemoError(
            f"it resizes the short side; the model needs size {resize.get('size')}"
        )
    crop = steps["CropImage"].get("size")
    width, height = (crop, crop) if isinstance(crop, int) else crop or (0, 1)
    if width != height:
        raise _BeyondDemoError(f"it cuts out a square; the model needs {width} x {height}")
    _check_normalisation(normalize)
    _check_options(steps)
    if str(resize.get("interpolation") or "bilinear").lower() != "bilinear":
        raise _BeyondDemoError(f"it resizes bilinearly; the model needs {resize['interpolation']}")
    return short_side, int(width)


def _steps(description: InferenceDescription) -> Mapping[str, Mapping[str, Any]]:
    steps: dict[str, Mapping[str, Any]] = {}
    for operator in description.transform_ops:
        if operator.name == "DecodeImage" and operator.options.get("to_rgb", True):
            continue  # the demo turns images to RGB too
        steps[operator.name] = operator.options
    return steps


def _check_normalisation(options: Mapping[str, Any]) -> None:
    """The demo's numbers are written in its source."""
    own = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    for key, numbers in own.items():
        given = options.get(key) or numbers
        if not np.allclose(given, numbers, atol=1e-6):
            raise _BeyondDemoError(
                f"it normalises with ImageNet's {key} {list(numbers)}; the model needs {given}"
            )
    divisor = options.get("divisor")
    if divisor is not None:
        factor = 1 / number(divisor, "divisor")
    else:
        scale = options.get("scale")
        factor = number(1 / 255 if scale is None else scale, "scale")
    if abs(factor - 1 / 255) > 1e-6:
        raise _BeyondDemoError(f"it scales pixels by 1/255; the model needs {factor:.6g}")


def _check_options(steps: Mapping[str, Mapping[str, Any]]) -> None:
    """Every option that the demo does not have leaves images as it prepares them."""
    for name, usual in _USUAL.items():
        for option, values in usual.items():
            given = steps[name].get(option)
            if given is not None and given not in values:
                raise _BeyondDemoError(f"it has no {option}; the model needs {given} ({name})")


# Options whose usual values are what the demo does; other options are compared by their numbers.
_USUAL: dict[str, dict[str, tuple[Any, ...]]] = {
    "ResizeImage": {"backend": ("cv2",), "rounding": ("nearest",), "max_long": (), "fit": ()},
    "CropImage": {"rounding": ("floor",)},
    "NormalizeImage": {
        "channel_num": (3,),
        "output_fp16": (False,),
        "is_scale": (True,),
        "norm_type": ("mean_std",),
    },
}
