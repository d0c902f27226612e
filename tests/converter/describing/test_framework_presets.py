"""Presets whose names begin with a framework: names, options, errors, warnings."""

from __future__ import annotations

import pytest

from converter.describing.framework_presets import fitting_preset
from converter.describing.presets import PRESETS, for_graph, preset, preset_names
from converter.describing.producers import foreign_preset_warning, preset_advice
from converter.errors import ConversionError
from converter.reading.graph import Graph, GraphTensor
from pipeline.stages.preprocess import build_preprocess


def options(name: str, operator: str) -> dict[str, object]:
    operators = preset(name)
    assert operators is not None
    (found,) = (dict(op.options) for op in operators if op.name == operator)
    return found


def graph(*shape: int, written_by: str = "", **metadata: str) -> Graph:
    feed = GraphTensor("x", "float32", shape or (-1, 3, 224, 224))
    return Graph((feed,), (), (), (), written_by=written_by, metadata=metadata)


@pytest.mark.parametrize("name", preset_names())
def test_every_listed_preset_prepares_an_array(name: str) -> None:
    operators = preset(name)
    assert operators
    build_preprocess(operators)


def test_presets_of_paddle_resize_with_opencv() -> None:
    for name in PRESETS:
        assert "backend" not in options(name, "ResizeImage")


def test_a_number_at_the_end_is_a_size() -> None:
    assert preset("keras-tf-299") == preset("keras-tf:size=299")
    assert preset("timm-384") == preset("timm:size=384")
    assert preset("torchvision-224") == preset("torchvision") == preset("torchvision:crop=224")


def test_values_of_several_numbers_continue_over_commas() -> None:
    given = options("timm:mean=0.1,0.2,0.3,std=0.5,size=96,160", "NormalizeImage")
    assert given["mean"] == [0.1, 0.2, 0.3]
    assert given["std"] == [0.5, 0.5, 0.5]
    crop = options("timm:mean=0.1,0.2,0.3,std=0.5,size=96,160", "CropImage")
    assert crop["size"] == [160, 96]


def test_a_name_of_no_framework_is_no_preset() -> None:
    for name in ("ops.yml", "torchvisio-224", "keras-224", "C:\\ops.yml", ""):
        assert preset(name) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:rezise=232", "has no option 'rezise' .*did you mean resize\\?"),
        ("torchvision:232", "'232' is not option=value; the options are resize, crop"),
        ("torchvision:crop=224,crop=256", "crop is given twice"),
        ("torchvision:crop=big", "crop is a number of pixels, not 'big'"),
        ("torchvision:crop=0", "crop is a number of pixels, not '0'"),
        ("torchvision:crop=224,256", "crop is a number of pixels, not '224,256'"),
        ("torchvision:interpolation=cubic", "interpolation is one of nearest, bilinear, bicubic"),
        ("torchvision:mean=1,2", "mean is one number, or three"),
        ("torchvision:mean=a", "mean is one number, or three"),
        ("torchvision:mean=nan", "mean is one number, or three"),
        ("torchvision:std=1,0,1", "none of them 0"),
        ("torchvision-299", "give both numbers: torchvision:resize=R,crop=299"),
        ("timm:crop_pct=0", "crop_pct is a number from 0.1 to 2"),
        ("timm:crop_pct=1,2", "crop_pct is a number from 0.1 to 2"),
        ("timm:size=1,2,3", "size is one number of pixels, or height,width"),
        ("keras-tf:keep_aspect_ratio=yes", "keep_aspect_ratio is one of true, false"),
        ("keras-tf:loader=dataset,interpolation=nearest", "the interpolation is bilinear"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_takes(name: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        preset(name)


def test_a_model_of_pixels_gets_no_planes() -> None:
    operators = preset("keras-tf-224")
    assert operators is not None
    assert for_graph(operators, graph(-1, 224, 224, 3))[-1].name == "NormalizeImage"
    assert for_graph(operators, graph(-1, 3, 224, 224)) == operators
    assert for_graph(operators, None) == operators


@pytest.mark.parametrize(
    ("written_by", "foreign", "named"),
    [
        ("pytorch 2.14, opset 20", "imagenet-224", "torchvision-224"),
        ("pytorch 2.14, opset 20", "keras-tf-224", "torchvision-224"),
        ("pytorch 2.14, opset 20", "paddleocr-cls", "torchvision-224"),
        ("tf2onnx 1.17", "imagenet-224", "keras-tf-224"),
        ("tf2onnx 1.17", "torchvision:resize=232,crop=224", "keras-tf-224"),
        ("keras 3.15", "ultralytics-8.0-224", "keras-tf-224"),
    ],
)
def test_a_preset_for_a_model_of_another_framework(
    written_by: str, foreign: str, named: str
) -> None:
    model = graph(-1, 3, 224, 224, written_by=written_by)
    said = foreign_preset_warning(foreign, model)
    assert written_by in said
    assert named in said
    assert "--reference" in said
    assert foreign_preset_warning(named, model) == ""
    paddle = graph(-1, 3, 224, 224, written_by="PaddlePaddle 3.3")
    assert foreign_preset_warning(foreign, paddle) == ""


def test_a_preset_of_keras_for_a_model_of_keras_on_pytorch() -> None:
    model = graph(-1, 224, 224, 3, written_by="pytorch 2.14")
    assert foreign_preset_warning("keras-tf-224", model) == ""


@pytest.mark.parametrize(
    ("given", "feed", "dtype", "named"),
    [
        ("keras-tf-224", (299, 299, 3), "float32", "keras-tf:size=299"),
        ("keras-tf:loader=dataset", (9, 5, 3), "float32", "keras-tf:size=9,5,loader=dataset"),
        ("keras-tf-224", (224, 224, 3), "uint8", "keras-pixels:size=224"),
        ("torchvision-224", (3, 299, 299), "float32", "torchvision:resize=R,crop=299"),
        ("timm:mean=1,2,3,size=9", (3, 96, 96), "float32", "timm:size=96,mean=1,2,3"),
        ("torchvision-224", (3, 96, 160), "float32", ""),
        ("timm-224", (3, -1, -1), "float32", ""),
        ("imagenet-224", (3, 299, 299), "float32", ""),
        ("", (3, 299, 299), "float32", ""),
    ],
)
def test_the_preset_that_fits_a_feed(
    given: str, feed: tuple[int, ...], dtype: str, named: str
) -> None:
    assert fitting_preset(given, feed, dtype) == named


def test_presets_of_the_models_framework_are_advised() -> None:
    assert "torchvision-224" in preset_advice(graph(written_by="pytorch 2.14, opset 20"))
    assert "keras-pixels-224" in preset_advice(graph(written_by="tf2onnx 1.17"))
    assert preset_advice(graph(written_by="PaddlePaddle 3.3")) == ""
