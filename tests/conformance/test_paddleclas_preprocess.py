"""Our preprocessing beside PaddleClas' own code, from the wheel it publishes.

Only its deploy/python/preprocess.py is loaded.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

MODULE = "paddleclas/deploy/python/preprocess.py"
# What that file imports and classification does not use.
ABSENT: dict[str, tuple[str, ...]] = {
    "paddle": (),
    "paddle.vision": (),
    "paddle.vision.transforms": ("ToTensor", "Normalize", "Resize", "CenterCrop"),
    "paddleclas": (),
    "paddleclas.deploy": (),
    "paddleclas.deploy.python": (),
    "paddleclas.deploy.python.det_preprocess": (
        "DetNormalizeImage",
        "DetPadStride",
        "DetPermute",
        "DetResize",
    ),
}


@pytest.fixture(scope="module")
def paddleclas(published: Callable[..., Path]) -> Iterator[Any]:
    pytest.importorskip("PIL", reason="PaddleClas' preprocessing imports Pillow")
    source = published("paddleclas", "2.6.0", MODULE)
    saved = {name: sys.modules.get(name) for name in [*ABSENT, "six", "paddleclas_preprocess"]}
    for name, members in ABSENT.items():
        module: Any = types.ModuleType(name)
        for member in members:
            setattr(module, member, None)
        sys.modules[name] = module
    six: Any = types.ModuleType("six")
    six.PY2 = False
    sys.modules["six"] = six
    spec = importlib.util.spec_from_file_location("paddleclas_preprocess", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["paddleclas_preprocess"] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        for name, old in saved.items():
            sys.modules.pop(name, None)
            if old is not None:
                sys.modules[name] = old


def images() -> dict[str, bytes]:
    from PIL import Image

    def smooth(height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        waves = [128 + 127 * np.sin((x * a + y * b) / 37) for a, b in ((1, 2), (3, 1), (2, 5))]
        return np.stack(waves, axis=-1).astype(np.uint8)

    def opencv(array: np.ndarray, suffix: str) -> bytes:
        return bytes(cv2.imencode(suffix, array)[1].tobytes())

    def pillow(image: Any, **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=92, **options)
        return out.getvalue()

    image = smooth(301, 457)
    rotated = Image.fromarray(image)
    exif = rotated.getexif()
    exif[0x0112] = 6
    return {
        "odd sizes": opencv(image, ".jpg"),
        "tall": opencv(smooth(911, 103), ".jpg"),
        "wide": opencv(smooth(97, 1203), ".png"),
        "smaller than the model": opencv(smooth(33, 47), ".png"),
        "one pixel": opencv(smooth(1, 1), ".png"),
        "grey": opencv(image[:, :, 0], ".png"),
        "alpha": opencv(np.dstack([image, image[:, :, 0]]), ".png"),
        "16 bits": opencv(image.astype(np.uint16) * 257, ".png"),
        "bmp": opencv(image, ".bmp"),
        "cmyk": pillow(Image.fromarray(image).convert("CMYK")),
        "exif rotated": pillow(rotated, exif=exif),
    }


MEAN_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CHW: dict[str, Any] = {"ToCHWImage": None}


def normalize(**options: Any) -> dict[str, Any]:
    return {"NormalizeImage": {"scale": 0.00392156862745098, "order": "", **MEAN_STD, **options}}


CHAINS: dict[str, list[dict[str, Any]]] = {
    "imagenet": [
        {"ResizeImage": {"resize_short": 256}},
        {"CropImage": {"size": 224}},
        normalize(channel_num=3),
        CHW,
    ],
    "textline": [{"ResizeImage": {"size": [160, 80]}}, normalize(), CHW],
    "ppocr": [{"ResizeImage": {"size": [192, 48]}}, normalize(scale="1.0/255.0", **HALF), CHW],
    "square": [{"ResizeImage": {"size": 456}}, normalize(mean=[0.567, 0.529, 0.484]), CHW],
    "bicubic": [
        {"ResizeImage": {"resize_short": 256, "interpolation": "bicubic"}},
        {"CropImage": {"size": 224}},
        normalize(),
        CHW,
    ],
    "area": [{"ResizeImage": {"size": [64, 64], "interpolation": "area"}}, normalize(), CHW],
    "pillow": [
        {"ResizeImage": {"resize_short": 256, "interpolation": "bicubic", "backend": "pil"}},
        {"CropImage": {"size": 224}},
        normalize(),
        CHW,
    ],
    "planes first": [{"ResizeImage": {"size": 96}}, CHW, normalize(order="chw")],
    "fourth plane of zeros": [{"ResizeImage": {"size": 96}}, normalize(channel_num=4), CHW],
    "fourth plane after planes": [
        {"ResizeImage": {"size": 96}},
        CHW,
        normalize(order="chw", channel_num=4),
    ],
    "fourth channel of pixels": [{"ResizeImage": {"size": 96}}, normalize(channel_num=4)],
    "half floats": [{"ResizeImage": {"size": 96}}, normalize(output_fp16=True), CHW],
    "scale without digits": [{"ResizeImage": {"size": 96}}, normalize(scale="1./255."), CHW],
    "scale in parentheses": [{"ResizeImage": {"size": 96}}, normalize(scale="(1 / 255.) * 2"), CHW],
    "defaults": [{"ResizeImage": {"size": 96}}, CHW, {"NormalizeImage": None}],
}


@pytest.mark.parametrize("chain", list(CHAINS))
def test_equal_to_paddleclas_bit_for_bit(paddleclas: Any, chain: str) -> None:
    ours = build_preprocess(CHAINS[chain])
    theirs = paddleclas.create_operators(CHAINS[chain])
    for name, data in images().items():
        # PaddleClas reads images with cv2.imread and turns BGR into RGB.
        reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        for operator in theirs:
            reference = operator(reference)
        result = ours(decode_image(data))
        assert result.shape == reference.shape, name
        assert np.array_equal(result, reference), name
