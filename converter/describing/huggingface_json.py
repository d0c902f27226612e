"""`preprocessor_config.json` of Hugging Face: how an image processor of transformers works.

The numbers are those of its Pillow backend, the only one before transformers 5 and still one of its
two. What a file leaves out is the default of its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.inference_yml import InferenceDescription, TransformOp

from ..errors import ConversionError
from .document import load_document
from .form import DEFAULT_TOPK, Source
from .framework_ops import TO_PLANES, Size, divided, pillow_resize, short_side, width_height
from .huggingface_processors import PROCESSORS, Processor
from .presets import for_graph
from .values import Values, is_side, labels_by_number

# PIL.Image.Resampling
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
_TYPE_KEYS = ("image_processor_type", "feature_extractor_type")
_ENDINGS = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor")
# Keys that change nothing for a classifier of one image: who wrote the file, how arrays are passed.
_WITHOUT_EFFECT = frozenset(
    {
        *_TYPE_KEYS,
        "_valid_processor_keys",
        "auto_map",
        "data_format",
        "default_to_square",
        "device",
        "disable_grouping",
        "do_convert_rgb",
        "do_reduce_labels",
        "image_processor_class",
        "input_data_format",
        "model_input_names",
        "num_channels",
        "processor_class",
        "reduce_labels",
        "return_tensors",
    }
)
_READ = frozenset(
    {
        "crop_size",
        "do_center_crop",
        "do_normalize",
        "do_rescale",
        "do_resize",
        "image_mean",
        "image_std",
        "resample",
        "rescale_factor",
        "size",
    }
)


def is_huggingface_json(document: object) -> bool:
    """Whether it describes an image processor, by itself or within a processor's file."""
    if not isinstance(document, dict):
        return False
    document = document.get("image_processor", document)
    return isinstance(document, dict) and (
        any(key in document for key in _TYPE_KEYS)
        or ("image_mean" in document and ("do_resize" in document or "do_normalize" in document))
    )


def read_huggingface_json(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate it; labels come from the `config.json` beside it.

    Raises:
        ConversionError: an image processor or an option is not known, or a value is not what it
            must be.
        BundleError: config.json is not JSON.
    """
    values = Values(document.get("image_processor", document), str(source.path))
    steps = () if source.steps_given else for_graph(_steps(values), source.graph)
    config_file, config = _config(source)
    labels: tuple[str, ...] | None = None
    if isinstance(config.get("id2label"), dict):
        labels = () if source.labels_given else _labels(config, config_file, source)
    multi_label = config.get("problem_type") == "multi_label_classification"
    return InferenceDescription(
        model_name=str(config.get("_name_or_path") or ""),
        transform_ops=steps,
        topk=0 if multi_label else DEFAULT_TOPK,
        labels=labels,
        multi_label=multi_label,
        activation=_activation(source, labels, multi_label=multi_label),
    )


def _config(source: Source) -> tuple[Path, Mapping[str, Any]]:
    for folder in (source.path.parent, *source.folders):
        path = folder / "config.json"
        if path.is_file():
            document = load_document(path)
            if isinstance(document, dict):
                return path, document
            raise BundleError(f"{path} must hold keys; export the model again")
    return source.path, {}


def _labels(config: Mapping[str, Any], path: Path, source: Source) -> tuple[str, ...]:
    source.note_label_file(path)
    return labels_by_number(config["id2label"], f"{path}: id2label")


def _activation(source: Source, labels: tuple[str, ...] | None, *, multi_label: bool) -> str | None:
    """What transformers' pipeline makes scores with, of a graph that gives logits."""
    if source.graph is None or set(source.graph.activations) != {"none"}:
        return None
    return "sigmoid" if multi_label or (labels is not None and len(labels) == 1) else "softmax"


def _steps(values: Values) -> list[TransformOp]:
    name = _class_name(values)
    processor = PROCESSORS[name]
    _check_keys(values, name, processor)
    steps = []
    if processor.flips and values.flag("do_flip_channel_order", default=True):
        steps.append(TransformOp("DecodeImage", {"to_rgb": False}))
    if values.flag("do_resize", default=True):
        steps += _resize(values, processor)
    if values.flag("do_center_crop", default=processor.crops):
        steps.append(_crop(_sides(values, "crop_size", processor.crop_size, square=True)))
    return [*steps, *_numbers(values, processor), TO_PLANES]


def _class_name(values: Values) -> str:
    given = next((values.get(key) for key in _TYPE_KEYS if values.get(key)), "ViTImageProcessor")
    name = str(given)
    for ending in _ENDINGS:
        if name.endswith(ending):
            name = name[: -len(ending)]
            break
    if name not in PROCESSORS:
        raise ConversionError(
            f"{values.where}: {given} is an image processor that is not known here (known:"
            f" {', '.join(sorted(PROCESSORS))}); write a list of transform_ops and give it with"
            " --preprocess"
        )
    return name


def _check_keys(values: Values, name: str, processor: Processor) -> None:
    """Refuse an option that is on and that changes the array in a way that is not known here."""
    known = _READ | _WITHOUT_EFFECT | processor.options
    # do_pad: null and false are what every class writes for what it does not do
    unknown = [key for key, value in values.document.items() if value and key not in known]
    if unknown:
        raise ConversionError(
            f"{values.where}: {', '.join(map(str, unknown))} of {name} is not known here; write a"
            " list of transform_ops and give it with --preprocess"
        )
    if values.text("data_format", "channels_first") != "channels_first":
        raise values.error("data_format", "channels_first")


def _resize(values: Values, processor: Processor) -> list[TransformOp]:
    number = values.get("resample", processor.resample)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(_FILTERS):
        raise values.error("resample", f"a number from 0 to {len(_FILTERS) - 1}")
    interpolation = _FILTERS[number]
    size = _sides(values, "size", processor.size, square=processor.square)
    short = size if isinstance(size, int) else None
    if processor.crop_pct is not None:
        share = values.number("crop_pct", processor.crop_pct)
        if processor.squashes_above is None:
            return [_scaled(size, share, interpolation)]
        if short is None:
            raise values.error("size", "{'shortest_edge': N}")
        if short >= processor.squashes_above:
            return [pillow_resize(interpolation, size=[short, short])]
        return [short_side(int(short / share), interpolation), _crop((short, short))]
    if isinstance(size, int):
        return [short_side(int(processor.enlarges * size), interpolation)]
    return [pillow_resize(interpolation, size=width_height(size))]


def _scaled(size: int | Size, share: float, interpolation: str) -> TransformOp:
    """PoolFormer: the size divided by crop_pct, the short side's if it is square."""
    if isinstance(size, tuple) and size[0] != size[1]:
        height, width = (int(side / share) for side in size)
        return pillow_resize(interpolation, size=[width, height])
    length = size if isinstance(size, int) else size[0]
    return short_side(int(length / share), interpolation)


def _crop(size: int | Size) -> TransformOp:
    sides = (size, size) if isinstance(size, int) else size
    return TransformOp("CropImage", {"size": width_height(sides), "fill": 0})


def _sides(values: Values, key: str, default: int | Size, *, square: bool) -> int | Size:
    """A short side, or (height, width), of any of the forms that transformers has had."""
    given = values.get(key)
    if given is None:
        return default
    sides: Any = given
    if isinstance(given, dict):
        keys = set(given)
        if keys == {"height", "width"}:
            sides = (given["height"], given["width"])
        elif keys == {"shortest_edge"}:
            sides, square = given["shortest_edge"], False
    good = is_side(sides) or (
        isinstance(sides, (list, tuple)) and len(sides) == 2 and all(map(is_side, sides))
    )
    if not good:
        raise values.error(
            key,
            "a number, {'height': H, 'width': W} or {'shortest_edge': N}, no other keys",
        )
    if isinstance(sides, int):
        return (sides, sides) if square else sides
    return sides[0], sides[1]


def _numbers(values: Values, processor: Processor) -> list[TransformOp]:
    """Rescaling and normalisation: pixel x rescale_factor, less the mean, by the deviation."""
    rescales = values.flag("do_rescale", default=True)
    normalizes = processor.normalizes and values.flag("do_normalize", default=True)
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean = values.channels("image_mean", processor.mean)
    std = values.deviations("image_std", processor.std)
    divisor = _divisor(values) if rescales else 1
    steps = []
    if rescales and processor.offsets and values.flag("rescale_offset", default=False):
        steps.append(divided(one, one, divisor))
        divisor = 1
    if normalizes or divisor != 1:
        steps.append(divided(mean if normalizes else zero, std if normalizes else one, divisor))
    if processor.offsets and values.flag("include_top", default=True):
        steps.append(divided(zero, std, 1))
    return steps


def _divisor(values: Values) -> float:
    """What pixels are divided by, for the same floats as multiplying by rescale_factor."""
    factor = values.number("rescale_factor", 1 / 255)
    divisor = round(1 / factor, 6)
    return int(divisor) if divisor == int(divisor) else divisor
