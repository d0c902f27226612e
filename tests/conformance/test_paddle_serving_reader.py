"""Our preprocessing beside 0.9's `paddle_serving_app.reader`, chained as its samples chain it.

Decoding, resizing, cropping and the order of channels are equal bit for bit. Normalising is not:
0.9 divides by 255 in float32 and takes mean and deviation in float64, PaddleClas (whose numbers
ours are, bit for bit) multiplies by 1/255 and stays in float32. The difference is a few last bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converter.describing.presets import PRESETS
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

# Over all 256 values of a pixel, with ImageNet's mean and deviation, the largest is 7.2e-7.
TOLERANCE = 8e-7
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5]
CUT: list[list[Any]] = [["Resize", 256], ["CenterCrop", 224]]
PLANES = ["Transpose", [2, 0, 1]]
TO_RGB = {"DecodeImage": {"to_rgb": True}}
TO_BGR = {"DecodeImage": {"to_rgb": False}}
IMAGENET = [{"ResizeImage": {"resize_short": 256}}, {"CropImage": {"size": 224}}]
CHW: dict[str, Any] = {"ToCHWImage": None}


def normalize(mean: list[float], std: list[float], scale: str = "1.0/255.0") -> dict[str, Any]:
    return {"NormalizeImage": {"scale": scale, "mean": mean, "std": std, "order": ""}}


AS_IT_IS = normalize([0.0] * 3, [1.0] * 3, "1")

# name -> 0.9's chain, our transform_ops, whether the numbers are equal to the last bit
CHAINS: dict[str, tuple[list[list[Any]], list[Any], bool]] = {
    # deploy/paddleserving/classification_web_service.py of PaddleClas
    "sample": (
        [*CUT, ["RGB2BGR"], PLANES, ["Div", 255], ["Normalize", MEAN, STD, True]],
        list(PRESETS["paddle-serving-sample"]),
        False,
    ),
    "pixels first": (
        [*CUT, ["BGR2RGB"], ["Div", 255.0], ["Normalize", MEAN, STD], PLANES],
        [TO_RGB, *IMAGENET, normalize(MEAN, STD), CHW],
        False,
    ),
    "no turn of channels": (
        [*CUT, PLANES, ["Div", 255], ["Normalize", MEAN, STD, True]],
        [TO_BGR, *IMAGENET, normalize(MEAN, STD), CHW],
        False,
    ),
    "fixed size": (
        [["Resize", [192, 48]], ["Div", 255.0], ["Normalize", HALF, HALF], PLANES],
        [TO_BGR, {"ResizeImage": {"size": [192, 48]}}, normalize(HALF, HALF), CHW],
        False,
    ),
    "bare pixels": (
        [*CUT, ["BGR2RGB"], PLANES],
        [*IMAGENET, AS_IT_IS, CHW],
        True,
    ),
    "bare pixels, BGR": (
        [["Resize", [160, 80]], PLANES],
        [TO_BGR, {"ResizeImage": {"size": [160, 80]}}, AS_IT_IS, CHW],
        True,
    ),
    "cubic": (
        [["Resize", 256, 2147483647, cv2.INTER_CUBIC], ["CenterCrop", 224], ["BGR2RGB"], PLANES],
        [
            {"ResizeImage": {"resize_short": 256, "interpolation": "bicubic"}},
            {"CropImage": {"size": 224}},
            AS_IT_IS,
            CHW,
        ],
        True,
    ),
    "area": (
        [["Resize", [64, 64], 2147483647, cv2.INTER_AREA], ["BGR2RGB"], PLANES],
        [
            {"ResizeImage": {"size": [64, 64], "interpolation": "area"}},
            AS_IT_IS,
            CHW,
        ],
        True,
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    files = {}
    for name, height, width, suffix in (
        ("odd", 301, 457, ".jpg"),
        ("tall", 911, 103, ".jpg"),
        ("wide", 97, 1203, ".png"),
        ("small", 33, 47, ".png"),
        ("grey", 240, 320, ".png"),
    ):
        y, x = np.mgrid[0:height, 0:width]
        waves = [128 + 127 * np.sin((x * a + y * b) / 37) for a, b in ((1, 2), (3, 1), (2, 5))]
        image = np.stack(waves, axis=-1).astype(np.uint8)
        files[name] = folder / (name + suffix)
        cv2.imwrite(str(files[name]), image[:, :, 0] if name == "grey" else image)
    return files


@pytest.fixture(scope="module")
def theirs(official: Any, images: dict[str, Path], tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("arrays")
    official(
        "read",
        chains={name: [["File2Image"], *chain[0]] for name, chain in CHAINS.items()},
        images={name: str(file) for name, file in images.items()},
        folder=str(folder),
    )
    return folder


@pytest.mark.parametrize("chain", list(CHAINS))
def test_equal_to_the_readers_of_0_9(theirs: Path, images: dict[str, Path], chain: str) -> None:
    _, transform_ops, exact = CHAINS[chain]
    preprocess = build_preprocess(transform_ops)
    expected = np.load(theirs / f"{chain}.npz")
    for name, file in images.items():
        result = preprocess(decode_image(file.read_bytes()))
        reference = expected[name]
        assert result.shape == reference.shape
        if exact:
            assert np.array_equal(result, reference), name
        else:
            np.testing.assert_allclose(result, reference, rtol=0, atol=TOLERANCE, err_msg=name)
