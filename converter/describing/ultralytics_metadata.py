"""What Ultralytics writes into its exports: task, names of the classes, size of the images.

It lies in the metadata of an ONNX graph, each value as Python prints it, and in a `metadata.yaml`
beside exports of other forms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bundle.inference_yml import InferenceDescription, TransformOp

from ..errors import ConversionError
from .form import DEFAULT_TOPK, Source
from .framework_ops import IMAGENET_MEAN, IMAGENET_STD, Size, centre_square, ultralytics
from .presets import for_graph
from .python_text import read_python_text
from .values import is_side, labels_by_number

# Releases of 8.0 from which classify_transforms no longer takes ImageNet's mean and std, and from
# which it resizes with Pillow as torchvision does.
_PLAIN_FROM, _PILLOW_FROM = 53, 233


def is_ultralytics_metadata(document: object) -> bool:
    """Whether it is of an export by Ultralytics, of whatever task."""
    return isinstance(document, dict) and {"task", "names", "imgsz"} <= document.keys()


def read_ultralytics_metadata(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate it.

    Raises:
        ConversionError: it is of no classifier, or a value is not what it must be.
    """
    where = str(source.path)
    task = document["task"]
    if task != "classify":
        raise ConversionError(
            f"{where}: is of Ultralytics' task {task}; only classifiers (task classify) are served"
            " here"
        )
    channels = _value(document.get("channels", 3))
    if channels != 3:
        raise ConversionError(
            f"{where}: was trained with {channels} channels; Ultralytics' preprocessing is known"
            " for three"
        )
    steps = () if source.steps_given else _steps(document, where)
    return InferenceDescription(
        model_name="",
        transform_ops=for_graph(steps, source.graph),
        topk=DEFAULT_TOPK,
        labels=()
        if source.labels_given
        else labels_by_number(_value(document["names"]), f"{where}: names"),
    )


def _steps(document: Mapping[str, Any], where: str) -> tuple[TransformOp, ...]:
    """What the version did that wrote the export; one without a version is taken for a new one."""
    size = _size(document, where)
    found = re.match(r"8\.0\.(\d+)", str(document.get("version", "")))
    release = int(found[1]) if found else _PILLOW_FROM
    if release >= _PILLOW_FROM:
        return ultralytics(size)
    if size[0] != size[1]:
        raise ConversionError(
            f"{where}: version {document['version']} of Ultralytics takes square images only, and"
            f" imgsz is {list(size)}; give --preprocess"
        )
    if release >= _PLAIN_FROM:
        return centre_square(size[0])
    return centre_square(size[0], IMAGENET_MEAN, IMAGENET_STD)


def _size(document: Mapping[str, Any], where: str) -> Size:
    size = _value(document["imgsz"])
    sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(sides) != 2 or not all(map(is_side, sides)):
        raise ConversionError(
            f"{where}: imgsz is [height, width], not {document['imgsz']!r}; give --preprocess"
            " ultralytics:size=N"
        )
    return sides[0], sides[1]


def _value(given: Any) -> Any:  # noqa: ANN401 - YAML, or Python's text of it
    if not isinstance(given, str):
        return given
    value = read_python_text(given)
    return given if value is None else value
