"""PaddleOCR's classifier of text directions, prepared as PaddleOCR does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from converter.describing.presets import preset
from pipeline.classifier import Classifier, ClassifierSettings, load_classifier
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess
from protocol.request import EncodedImage
from tests.conformance import origins

MODEL = "ch_ppocr_mobile_v2_cls_infer"
STRETCHED = """\
- DecodeImage: {to_rgb: False}
- ResizeImage: {size: [192, 48]}
- NormalizeImage: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: '', scale: 1./255.}
- ToCHWImage:
"""


def lines(shared: Path) -> Iterator[tuple[np.ndarray, str]]:
    """Lines of text, BGR, and their direction; squares of them, two thirds of which overlap."""
    for path in sorted((shared / "images").glob("textline_orientation_test_*.png")):
        image = cv2.imread(str(path))
        assert image is not None
        direction = "180" if "_test_1_" in path.name else "0"
        yield image, direction
        height, width = image.shape[:2]
        for left in range(0, width - height + 1, height // 2):
            yield image[:, left : left + height], direction


def encoded(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.mark.slow
def test_the_preset_is_paddleocrs_own_preprocessing(
    shared: Path, published: Callable[..., Path]
) -> None:
    origin = origins.PADDLEOCR
    code = origins.load(origin.path(published), origin.names)
    ours = build_preprocess(preset("paddleocr-cls") or ())
    for image, _ in lines(shared):
        expected, _ = code["resize_norm_img"](image, [3, 48, 192])
        assert np.array_equal(ours(decode_image(encoded(image))), expected)


@pytest.mark.slow
def test_short_lines_are_read_better_padded_than_stretched(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0\n180\n")
    (tmp_path / "stretched.yml").write_text(STRETCHED)

    def right(preprocess: str, name: str) -> int:
        overrides = Overrides(tmp_path / "labels.txt", preprocess)
        export = shared / "models" / MODEL
        bundle = convert(ConvertOptions(export, tmp_path / name, overrides))
        classifier = load_classifier(ClassifierSettings(model_dir=str(bundle.path)))
        return sum(best(classifier, image) == direction for image, direction in lines(shared))

    padded, stretched = (
        right("paddleocr-cls", "padded"),
        right(str(tmp_path / "stretched.yml"), "stretched"),
    )
    assert padded > stretched
    assert padded >= len(list(lines(shared))) - 1


def best(classifier: Classifier, image: np.ndarray) -> str:
    (result,) = classifier.classify([EncodedImage(encoded(image), topk=1)])
    assert not isinstance(result, Exception)
    return result[0].label
