"""Operators equal the code of the project whose names they bear, bit for bit.

What that code gives is recorded in recorded/operators.json, so that every run compares. The slow
tests run the code itself. `RECORD=1 python -m pytest tests/conformance/test_operators.py` records
again, with the checkouts that origins.py names.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stages.preprocess import build_preprocess
from tests.conformance import origins
from tests.conformance.origins import Origin

RECORDED = Path(__file__).resolve().parent / "recorded" / "operators.json"

Steps = list[tuple[str, dict[str, Any]]]
HALF = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

# origin, steps of the origin; ours are of the same names and options unless a third part says.
CASES: dict[str, tuple[Origin, Steps]] = {
    "paddleocr cls": (origins.PADDLEOCR, [("ClsResizeImg", {"image_shape": [3, 48, 192]})]),
    "paddleocr cls low": (origins.PADDLEOCR, [("ClsResizeImg", {"image_shape": [3, 32, 100]})]),
    "letterbox": (origins.ULTRALYTICS, [("LetterBox", {"new_shape": [64, 96]})]),
    "letterbox auto": (
        origins.ULTRALYTICS,
        [("LetterBox", {"new_shape": 96, "auto": True, "stride": 32})],
    ),
    "letterbox fill": (
        origins.ULTRALYTICS,
        [("LetterBox", {"new_shape": [96, 64], "scale_fill": True, "interpolation": 3})],
    ),
    "letterbox corner": (
        origins.ULTRALYTICS,
        [("LetterBox", {"new_shape": 224, "scaleup": False, "center": False, "padding_value": 0})],
    ),
    "classify letterbox": (origins.ULTRALYTICS, [("ClassifyLetterBox", {"size": [96, 64]})]),
    "classify letterbox auto": (
        origins.ULTRALYTICS,
        [("ClassifyLetterBox", {"size": 100, "auto": True, "stride": 16})],
    ),
    "centre square": (origins.ULTRALYTICS, [("CropImageAtRatio", {"size": 48, "pad": 0})]),
    "crop at ratio": (
        origins.PADDLECLAS,
        [("CropImageAtRatio", {"size": 48, "pad": 8, "interpolation": "bilinear"})],
    ),
    "padv2 centre": (
        origins.PADDLECLAS,
        [("Padv2", {"size": [720, 901], "pad_mode": 1, "fill_value": 0})],
    ),
    "padv2 left": (
        origins.PADDLECLAS,
        [("Padv2", {"size": [720, 901], "pad_mode": 2, "fill_value": [1.5, 2.25, 255]})],
    ),
    "padv2 right": (origins.PADDLECLAS, [("Padv2", {"size": 910})]),
    "padv2 offsets": (
        origins.PADDLECLAS,
        [("Padv2", {"size": 910, "pad_mode": -1, "offsets": [7, 3]})],
    ),
    "pad": (origins.PADDLECLAS, [("Pad", {"padding": 5, "fill": 3, "backend": "cv2"})]),
    "detection": (
        origins.PADDLEDETECTION,
        [
            ("Resize", {"target_size": [96, 64], "keep_ratio": False, "interp": 2}),
            ("NormalizeImage", {"is_scale": True, **HALF}),
            ("Permute", {}),
        ],
    ),
    "detection ratio": (
        origins.PADDLEDETECTION,
        [
            ("Resize", {"target_size": [80, 133], "keep_ratio": True, "interp": 1}),
            ("NormalizeImage", {"is_scale": False, "mean": [123.675, 116.28, 103.53],
                                "std": [58.395, 57.12, 57.375]}),
            ("Permute", {}),
            ("PadStride", {"stride": 32}),
        ],
    ),
    "detection scale only": (
        origins.PADDLEDETECTION,
        [
            ("Resize", {"target_size": 50, "keep_ratio": True, "interp": 3}),
            ("Pad", {"size": [60, 70], "fill_value": [114.0, 114.0, 114.5]}),
            ("NormalizeImage", {"is_scale": True, "norm_type": "none", **HALF}),
            ("Permute", {}),
        ],
    ),
    "detection letterbox": (
        origins.PADDLEDETECTION,
        [("LetterBoxResize", {"target_size": [96, 64]})],
    ),
}  # fmt: skip
SIZES = ((61, 37), (37, 61), (900, 61), (40, 700), (33, 35), (96, 64), (1, 1))


def image_of(height: int, width: int) -> np.ndarray:
    """Waves and noise, uint8 RGB, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [(x * a + y * b) * 7 % 256 for a, b in ((1, 2), (3, 1), (2, 5))]
    return np.stack(waves, axis=-1).astype(np.uint8)


def facts(array: np.ndarray) -> dict[str, Any]:
    """What is compared: the shape, all floats as a digest, and a few of them for people."""
    floats = np.ascontiguousarray(array, np.float32)
    few = floats.reshape(-1)[:: max(1, floats.size // 5)]
    return {
        "shape": list(floats.shape),
        "sha256": hashlib.sha256(floats.tobytes()).hexdigest(),
        "few": [float(value) for value in few],
    }


def ours(case: str, image: np.ndarray) -> np.ndarray:
    return build_preprocess([{name: options} for name, options in CASES[case][1]])(image)


def theirs(case: str, image: np.ndarray, published: Callable[..., Path]) -> np.ndarray:
    origin, steps = CASES[case]
    code = origins.load(origin.path(published), origin.names)
    array = image
    for name, options in steps:
        if origin is origins.PADDLEOCR:
            array, _ = code["resize_norm_img"](array, options["image_shape"])
        elif origin is origins.ULTRALYTICS and name == "CropImageAtRatio":
            array = code["CenterCrop"](options["size"])(array)
        elif name == "LetterBox":
            array = code[name](**options)(image=array)
        elif origin is origins.PADDLEDETECTION:
            array, _ = code[name](**options)(array, {})
        else:
            array = code[name](**options)(array)
    return array


def fitting(case: str) -> list[tuple[int, int]]:
    """Sizes that the code of the origin takes: it fails with others."""
    names = {name for name, _ in CASES[case][1]}
    if "CropImageAtRatio" in names:
        return [size for size in SIZES if min(size) > 1]
    if names == {"Pad"} or names == {"Padv2"} or "paddleocr" in case or case == "detection":
        return list(SIZES)
    return [size for size in SIZES if max(size) / min(size) < 10]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return answers


@pytest.mark.parametrize("case", list(CASES))
def test_an_operator_gives_what_was_recorded_of_its_origin(
    recorded: dict[str, Any], case: str
) -> None:
    assert set(recorded[case]) == {f"{h}x{w}" for h, w in fitting(case)}
    for height, width in fitting(case):
        got = facts(ours(case, image_of(height, width)))
        assert got == recorded[case][f"{height}x{width}"], (height, width)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_an_origin_gives_what_was_recorded(case: str, published: Callable[..., Path]) -> None:
    found = {}
    for height, width in fitting(case):
        image = image_of(height, width)
        # with the framework's order of the colours: ours are given as they are
        found[f"{height}x{width}"] = facts(theirs(case, image, published))
    if os.environ.get("RECORD"):
        known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.is_file() else {}
        known[case] = found
        lines = [f"{json.dumps(name)}: {json.dumps(known[name])}" for name in sorted(known)]
        RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert found == recorded[case]


def test_the_steps_of_a_line_of_text_are_paddleocrs_one_step() -> None:
    """As docs/preprocessing.md writes the preset paddleocr-cls."""
    steps = [
        {"ResizeToHeight": {"height": 48, "max_width": 192}},
        {"NormalizeImage": {"divisor": 255, "mean": 0.5, "std": 0.5, "order": ""}},
        {"PadImage": {"size": [192, 48], "value": 0}},
        {"ToCHWImage": None},
    ]
    for height, width in SIZES:
        image = image_of(height, width)
        assert np.array_equal(build_preprocess(steps)(image), ours("paddleocr cls", image))


def test_pillow_makes_the_same_grey_of_every_colour() -> None:
    image = pytest.importorskip("PIL.Image")
    grey = build_preprocess([{"Grayscale": {}}])
    red, green = np.mgrid[0:256, 0:256].astype(np.uint8)
    for blue in range(256):
        colours = np.dstack([red, green, np.full_like(red, blue)])
        expected = np.asarray(image.fromarray(colours).convert("L"))
        assert np.array_equal(grey(colours)[:, :, 0], expected), blue


def test_opencv_makes_the_same_grey() -> None:
    colours = image_of(211, 307)
    got = build_preprocess([{"Grayscale": {"backend": "cv2"}}])(colours)
    assert np.array_equal(got[:, :, 0], cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize("backend", ["pil", "cv2"])
def test_a_grey_image_stays_as_it_is(backend: str) -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    grey = build_preprocess([{"Grayscale": {"backend": backend, "num_output_channels": 3}}])
    assert np.array_equal(grey(levels), levels)


def test_operators_are_equal_inside_the_official_engines_python(
    paddle_serving_python: Path, root: Path
) -> None:
    """Python 3.8 with the OpenCV and numpy of Paddle Serving 0.9's time."""
    steps = {case: [{name: options} for name, options in CASES[case][1]] for case in CASES}
    script = (
        "import json, sys; sys.path.insert(0, '.')\n"
        "import numpy as np\n"
        "from pipeline.stages.preprocess import build_preprocess\n"
        "given = json.load(sys.stdin)\n"
        "for case, steps in given['steps'].items():\n"
        "    prepare = build_preprocess(steps)\n"
        "    for size, pixels in given['images'].items():\n"
        "        if size in given['sizes'][case]:\n"
        "            array = prepare(np.asarray(pixels, np.uint8))\n"
        "            print(json.dumps([case, size, list(array.shape), array.tobytes().hex()]))\n"
    )
    small = [size for size in SIZES if max(size) < 100]
    order = {
        "steps": steps,
        "sizes": {case: [f"{h}x{w}" for h, w in fitting(case)] for case in CASES},
        "images": {f"{h}x{w}": image_of(h, w).tolist() for h, w in small},
    }
    done = subprocess.run(
        [str(paddle_serving_python), "-c", script],
        input=json.dumps(order),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {case for case, *_ in lines} == set(CASES)
    for case, size, shape, data in lines:
        height, width = map(int, size.split("x"))
        expected = ours(case, image_of(height, width))
        assert tuple(shape) == expected.shape, (case, size)
        assert bytes.fromhex(data) == expected.tobytes(), (case, size)
