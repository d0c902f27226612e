"""What PyTorch's and Keras' libraries and PaddleOCR do to an image, as transform_ops.

Each function has the parameters of the framework, under its names and in its order: a pair of sizes
is (height, width). tests/conformance compares each with the real package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bundle.inference_yml import TransformOp

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TO_PLANES = TransformOp("ToCHWImage", {})
# Pillow's convert("L"): torchvision's Grayscale() and Keras' color_mode="grayscale".
GREY = TransformOp("Grayscale", {"num_output_channels": 1})

# Pillow's filters, by the names that torchvision, timm and Keras share.
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")

Size = tuple[int, int]


def divided(mean: Sequence[float], std: Sequence[float], divisor: float = 255) -> TransformOp:
    """(pixel / divisor - mean) / std, as PyTorch and Keras compute it."""
    return TransformOp(
        "NormalizeImage",
        {
            "channel_num": len(mean),
            "divisor": divisor,
            "mean": list(mean),
            "order": "",
            "std": list(std),
        },
    )


def pillow_resize(interpolation: str, **options: Any) -> TransformOp:  # noqa: ANN401 - YAML
    """ResizeImage with Pillow, as PyTorch's libraries do."""
    return TransformOp("ResizeImage", {**options, "interpolation": interpolation, "backend": "pil"})


def short_side(length: int, interpolation: str) -> TransformOp:
    """Torchvision's Resize(length): the short side, and the fraction of the long one is cut off."""
    return pillow_resize(interpolation, resize_short=length, rounding="floor")


def centre_crop(size: Size, fill: float | Sequence[float] = 0) -> TransformOp:
    """Torchvision's CenterCrop(size): smaller images get a border."""
    border = fill if isinstance(fill, (int, float)) else list(fill)
    return TransformOp(
        "CropImage", {"size": width_height(size), "rounding": "even", "fill": border}
    )


def width_height(size: Size) -> list[int]:
    """A pair of sizes in the order of transform_ops."""
    return [size[1], size[0]]


def torchvision(
    resize: int = 256,
    crop: int = 224,
    interpolation: str = "bilinear",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    *,
    grayscale: bool = False,
) -> tuple[TransformOp, ...]:
    """torchvision.transforms._presets.ImageClassification, of all its weights.

    With `grayscale`, Grayscale() stands before it, and mean and std have one number.
    """
    return (
        *((GREY,) if grayscale else ()),
        short_side(resize, interpolation),
        centre_crop((crop, crop)),
        divided(mean, std),
        TO_PLANES,
    )


def timm(
    size: Size = (224, 224),
    crop_pct: float = 0.875,
    crop_mode: str = "center",
    interpolation: str = "bicubic",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> tuple[TransformOp, ...]:
    """timm.data.create_transform for evaluation."""
    height, width = (math.floor(side / crop_pct) for side in size)
    fill: float | list[float] = 0
    if crop_mode == "squash":
        resize = pillow_resize(interpolation, size=[width, height])
    elif crop_mode == "border":
        resize = pillow_resize(interpolation, size=[width, height], fit="inside")
        fill = [round(255 * value) for value in mean]
    elif height == width:
        resize = short_side(height, interpolation)
    else:
        resize = pillow_resize(interpolation, size=[width, height], fit="cover")
    return resize, centre_crop(size, fill), divided(mean, std), TO_PLANES


def ultralytics(size: Size = (224, 224)) -> tuple[TransformOp, ...]:
    """ultralytics.data.augment.classify_transforms: pixels from 0 to 1."""
    square = size[0] == size[1]
    resize = (
        short_side(size[0], "bilinear")
        if square
        else pillow_resize("bilinear", size=width_height(size))
    )
    return resize, centre_crop(size), divided((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), TO_PLANES


def centre_square(
    size: int = 224,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[TransformOp, ...]:
    """Ultralytics' CenterCrop: the largest centred square, resized with OpenCV.

    YOLOv5 and Ultralytics before 8.0.53 normalise with ImageNet's mean and std, 8.0.53 to 8.0.232
    do not; `ultralytics` is what 8.0.233 and later do.
    """
    crop = TransformOp("CropImageAtRatio", {"size": size, "pad": 0})
    return crop, divided(mean, std), TO_PLANES


def keras(
    mode: str,
    size: Size = (224, 224),
    interpolation: str = "",
    loader: str = "load_img",
    *,
    keep_aspect_ratio: bool = False,
    color_mode: str = "rgb",
) -> tuple[TransformOp, ...]:
    """An image of Keras, and keras.applications.imagenet_utils.preprocess_input in a mode.

    Args:
        mode: caffe, tf, torch; or pixels: none of them, for graphs that scale by themselves.
        size: target_size.
        interpolation: "" for the loader's default, nearest of load_img and bilinear of dataset.
        loader: load_img resizes with Pillow; dataset (image_dataset_from_directory) without
            antialias, in floats.
        keep_aspect_ratio: of load_img, crop_to_aspect_ratio of dataset.
        color_mode: rgb or grayscale, of load_img and the modes tf and pixels.
    """
    operators: list[TransformOp] = [GREY] if color_mode == "grayscale" else []
    if mode == "caffe":
        operators.append(TransformOp("DecodeImage", {"to_rgb": False}))
    options: dict[str, Any] = {"size": width_height(size)}
    if keep_aspect_ratio:
        options["fit"] = "crop"
    if loader == "dataset":
        options["interpolation"] = interpolation or "bilinear"
        operators += [TransformOp("ToFloat32", {}), TransformOp("ResizeImage", options)]
    else:
        operators.append(pillow_resize(interpolation or "nearest", **options))
    if mode == "tf" and color_mode == "grayscale":
        operators.append(divided((1.0,), (1.0,), 127.5))
    elif mode != "pixels":
        operators.append(_KERAS_MODES[mode])
    return *operators, TO_PLANES


def paddleocr_cls(size: Size = (48, 192)) -> tuple[TransformOp, ...]:
    """tools/infer/predict_cls.py of PaddleOCR: BGR, the ratio kept, zeros at the right."""
    shape = [3, *size]
    return (
        TransformOp("DecodeImage", {"to_rgb": False}),
        TransformOp("ClsResizeImg", {"image_shape": shape}),
    )


_KERAS_MODES = {
    "caffe": divided((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), 1),
    "tf": divided((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 127.5),
    "torch": divided(IMAGENET_MEAN, IMAGENET_STD),
}
