"""A translated `model.yml` beside the code of PaddleX 1.3.11 and 2.1.0 that it was written by.

Only the transforms for images are loaded, from the wheels it published.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converter.describing.form import Source
from converter.describing.paddlex_yml import read_paddlex_yml
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

PACKAGE = "paddlex/cv/transforms"
# What those files import and classification does not use.
ABSENT = {
    "paddlex": {},
    "paddlex.utils": {},
    "paddlex.utils.logging": {},
    "paddlex.cv": {},
    "paddlex.cv.transforms": {},
    "paddlex.cv.transforms.imgaug_support": {"execute_imgaug": None},
    "shapely": {},
    "shapely.ops": {},
    "shapely.geometry": dict.fromkeys(("Polygon", "MultiPolygon", "GeometryCollection")),
}
NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CHAINS: list[list[dict[str, dict[str, Any]]]] = [
    [{"ResizeByShort": {"short_size": 256, "max_size": -1}}, {"CenterCrop": {"crop_size": 224}},
     {"Normalize": NORMALIZE}],
    [{"ResizeByShort": {"short_size": 64, "max_size": 300}}, {"CenterCrop": {"crop_size": 40}},
     {"Normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.3, 0.4]}}],
]  # fmt: skip
ONLY_2: list[list[dict[str, dict[str, Any]]]] = [
    [{"Resize": {"target_size": [80, 120], "interp": "CUBIC"}},
     {"Normalize": {**NORMALIZE, "min_val": [16, 16, 16], "max_val": [235.0, 235.0, 235.0]}}],
    [{"Resize": {"target_size": 96, "interp": "AREA"}},
     {"Normalize": {**NORMALIZE, "is_scale": False}}],
    [{"ResizeByShort": {"short_size": 100, "interp": "NEAREST"}},
     {"CenterCrop": {"crop_size": 99}}, {"Normalize": NORMALIZE}],
    [{"Resize": {"target_size": [80, 120], "keep_ratio": True}},
     {"Padding": {"target_size": [90, 130], "pad_mode": 1}}, {"Normalize": NORMALIZE}],
    [{"ResizeByLong": {"long_size": 100, "interp": "LANCZOS4"}},
     {"Padding": {"im_padding_value": [0, 10.5, 255], "size_divisor": 64}},
     {"Normalize": NORMALIZE}],
    [{"ResizeByLong": {}}, {"Padding": {"target_size": 300, "pad_mode": -1, "offsets": [3, 9]}},
     {"Normalize": NORMALIZE}],
    [{"ResizeByLong": {"long_size": 90}}, {"Padding": {"target_size": 100, "pad_mode": 2}},
     {"Normalize": NORMALIZE}],
]  # fmt: skip


@pytest.fixture
def load(
    published: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], Any]]:
    """A function: version and module of PaddleX' transforms -> the module."""
    pytest.importorskip("PIL", reason="PaddleX' transforms import Pillow")

    def load_module(version: str, name: str) -> Any:
        folder = published("paddlex", version, PACKAGE)
        for absent, names in ABSENT.items():
            module = types.ModuleType(absent)
            module.__dict__.update(names)
            module.__path__ = [str(folder)] if absent.endswith("transforms") else []
            monkeypatch.setitem(sys.modules, absent, module)
        monkeypatch.setattr(
            sys.modules["paddlex"], "utils", sys.modules["paddlex.utils"], raising=False
        )
        monkeypatch.setattr(
            sys.modules["paddlex.utils"],
            "logging",
            sys.modules["paddlex.utils.logging"],
            raising=False,
        )
        full = f"paddlex.cv.transforms.{name}"
        spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    before = set(sys.modules)
    yield load_module
    for name in set(sys.modules) - before:
        if name.startswith(("paddlex", "shapely")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    """JPEGs and PNGs of colour and grey, of even and odd sizes."""
    random = np.random.default_rng(11)
    encoded = []
    for suffix, (height, width) in (
        (".jpg", (375, 500)),
        (".png", (301, 227)),
        (".jpg", (120, 640)),
    ):
        coarse = random.integers(0, 256, (9, 9, 3), np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        encoded.append(cv2.imencode(suffix, image)[1].tobytes())
    grey = random.integers(0, 256, (200, 200), np.uint8)
    encoded.append(cv2.imencode(".png", grey)[1].tobytes())
    return encoded


def ours(version: str, chain: list[dict[str, dict[str, Any]]], data: bytes) -> np.ndarray:
    document = {"version": version, "Transforms": chain}
    description = read_paddlex_yml(document, Source(Path("model.yml")))
    return build_preprocess(description.transform_ops)(decode_image(data))


@pytest.mark.parametrize("chain", CHAINS)
def test_paddlex_1(load: Any, images: list[bytes], chain: Any) -> None:
    module = load("1.3.11", "cls_transforms")
    steps = [getattr(module, name)(**options) for op in chain for name, options in op.items()]
    compose = module.Compose([*steps, module.ArrangeClassifier(mode="test")])
    for data in images:
        (expected,) = compose(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        got = ours("1.3.11", chain, data)
        assert got.shape == expected.shape
        # it normalises in float64
        assert np.allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize("chain", CHAINS + ONLY_2)
def test_paddlex_2(load: Any, images: list[bytes], chain: Any) -> None:
    module = load("2.1.0", "operators")
    for data in images:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        sample = {"image": cv2.cvtColor(image, cv2.COLOR_BGR2RGB)}
        for op in chain:
            for name, options in op.items():
                sample = getattr(module, name)(**options)(sample)
        expected = sample["image"].transpose(2, 0, 1)
        got = ours("2.1.0", chain, data)
        assert got.shape == expected.shape
        assert np.allclose(got, expected, atol=2e-6)
