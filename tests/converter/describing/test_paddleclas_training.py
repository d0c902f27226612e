"""PaddleClas' training YAMLs are read with what PaddleClas does around their lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle.inference_yml import InferenceDescription
from bundle.thresholds import Thresholds
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.form import Source
from converter.describing.forms import read_description
from converter.describing.overrides import Overrides
from converter.errors import ConversionError

MakeExport = Callable[..., Path]

LIST: list[dict[str, Any]] = [
    {"DecodeImage": {"to_rgb": True}},
    {"ResizeImage": {"size": 4}},
    {"NormalizeImage": {"scale": 0.00392157, "order": ""}},
]
# The end of a list for the size that a dataset has anyway.
NORMALIZE = [{"NormalizeImage": {"scale": "1.0/255.0", "order": "hwc"}}]


def evaluated(name: str | None, transforms: object = LIST, **more: object) -> dict[str, Any]:
    """A training YAML that says only how PaddleClas evaluates."""
    dataset = {"name": name, "transform_ops": transforms, **more}
    return {"Arch": {"name": "PPLCNet_x1_0"}, "DataLoader": {"Eval": {"dataset": dataset}}}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., InferenceDescription]:
    """Write a document as YAML and read it as a description."""

    def run(document: dict[str, Any], **source: Any) -> InferenceDescription:
        path = tmp_path / "train.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return read_description(Source(path, **source))

    return run


def names(description: InferenceDescription) -> list[str]:
    return [operator.name for operator in description.transform_ops]


@pytest.mark.parametrize("dataset", ["ImageNetDataset", "MultiLabelDataset", "CompCars", "Cifar10"])
def test_the_dataset_class_makes_planes_after_the_list(
    read: Callable[..., InferenceDescription], dataset: str
) -> None:
    described = read(evaluated(dataset))
    assert names(described) == ["DecodeImage", "ResizeImage", "NormalizeImage", "ToCHWImage"]


def test_a_list_that_makes_planes_itself_stays(read: Callable[..., InferenceDescription]) -> None:
    whole = [*LIST, {"ToCHWImage": None}]
    assert names(read(evaluated("MyDataset", whole))) == names(read(evaluated("CompCars", LIST)))


def test_infer_comes_before_evaluation_and_is_as_it_stands(
    read: Callable[..., InferenceDescription],
) -> None:
    document = {**evaluated("ImageNetDataset"), "Infer": {"transforms": NORMALIZE}}
    assert names(read(document)) == ["NormalizeImage"]


def test_a_configuration_of_release_1(read: Callable[..., InferenceDescription]) -> None:
    document = {
        "mode": "valid",
        "ARCHITECTURE": {"name": "HRNet_W18_C"},
        "TRAIN": {"transforms": [{"RandFlipImage": {}}]},
        "VALID": {"batch_size": 20, "transforms": [*LIST, {"ToCHWImage": None}]},
    }
    described = read(document)
    assert names(described)[-1] == "ToCHWImage"
    assert (described.model_name, described.multi_label) == ("HRNet_W18_C", False)
    assert read({**document, "multilabel": True}).multi_label


def test_evaluation_counts_where_infer_does_not_fit_the_exported_graph(
    read: Callable[..., InferenceDescription],
) -> None:
    """As in PaddleClas' own MobileNetV4_conv_large.yaml, SVTR and EfficientNetV2_S."""
    warnings: list[str] = []
    infer = {"transforms": [{"ResizeImage": {"size": 6}}, {"ToCHWImage": None}]}
    document = {**evaluated("ImageNetDataset"), "Infer": infer}
    for shape, count, size in (([3, 4, 4], 1, 4), ([3, 6, 6], 0, 6), ([3, 9, 9], 0, 6)):
        warnings.clear()
        described = read({**document, "Global": {"image_shape": shape}}, warn=warnings.append)
        resize = next(o for o in described.transform_ops if o.name == "ResizeImage")
        assert resize.options == {"size": size}
        assert len(warnings) == count
    infer["transforms"] = ["?", 5]
    described = read({**document, "Global": {"image_shape": [3, 4, 4]}})
    assert described.transform_ops[-1].name == "ToCHWImage"


def test_images_of_cifar_have_one_size(read: Callable[..., InferenceDescription]) -> None:
    warnings: list[str] = []
    described = read(evaluated("Cifar100", NORMALIZE), warn=warnings.append)
    assert names(described) == ["ResizeImage", "NormalizeImage", "ToCHWImage"]
    assert described.transform_ops[0].options == {"size": 32}
    (warning,) = warnings
    assert "images of Cifar100 have 32 x 32 pixels" in warning


@pytest.mark.parametrize(
    "several",
    [{"Global": {"use_multilabel": True}}, {"Metric": {"Eval": [{"ATTRMetric": None}]}}],
    ids=["use_multilabel", "ATTRMetric"],
)
def test_the_rule_of_the_exporter_says_that_there_are_several_labels(
    read: Callable[..., InferenceDescription], several: dict[str, Any]
) -> None:
    described = read({**evaluated("MultiLabelDataset"), **several})
    assert (described.multi_label, described.thresholds) == (True, Thresholds(0.5))
    assert described.activation is None
    plain = read({**evaluated("ImageNetDataset"), "Metric": {"Eval": [{"TopkAcc": None}]}})
    assert not plain.multi_label


def test_a_graph_exported_without_its_softmax_gets_one(
    make_export: MakeExport, tmp_path: Path
) -> None:
    document = evaluated("ImageNetDataset")
    document["Arch"]["infer_add_softmax"] = False
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    overrides = Overrides(tmp_path / "labels.txt", str(tmp_path / "train.yaml"))
    export = make_export("pdmodel", description=None, last="")
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert bundle.description.activation == "softmax"


def test_the_model_of_a_distillation_is_the_exported_one(
    read: Callable[..., InferenceDescription],
) -> None:
    models = [{"Teacher": {"name": "ResNet50_vd"}}, {"Student": {"name": "MobileNetV3"}}]
    arch = {"name": "DistillationModel", "models": models, "infer_model_name": "Student"}
    described = read({**evaluated("ImageNetDataset"), "Arch": arch})
    assert described.model_name == "MobileNetV3"


@pytest.mark.parametrize(
    "label_file",
    ["ppcls/utils/names.txt", "../ppcls/utils/names.txt", "D:\\me\\PaddleClas\\names.txt"],
)
def test_label_files_are_found_from_any_folder_above_and_by_their_last_part(
    tmp_path: Path, label_file: str
) -> None:
    configs = tmp_path / "PaddleClas/ppcls/configs/ImageNet/ResNet"
    configs.mkdir(parents=True)
    (tmp_path / "PaddleClas/deploy").mkdir()
    near = "\\" in label_file
    labels = configs if near else tmp_path / "PaddleClas/ppcls/utils"
    labels.mkdir(exist_ok=True)
    (labels / "names.txt").write_text("0 tench\n1 cock\n")
    postprocess = {"name": "Topk", "topk": 5, "class_id_map_file": label_file}
    document = {"Infer": {"transforms": LIST, "PostProcess": postprocess}}
    (configs / "x.yaml").write_text(yaml.safe_dump(document))
    noted: list[Path] = []
    described = read_description(Source(configs / "x.yaml", note_label_file=noted.append))
    assert described.labels == ("tench", "cock")
    assert [path.resolve() for path in noted] == [labels / "names.txt"]


def test_a_path_of_windows_in_double_quotes(tmp_path: Path) -> None:
    """YAML reads \\n in double quotes as the end of a line."""
    (tmp_path / "names.txt").write_text("a\nb\n")
    (tmp_path / "x.yaml").write_text(
        "Infer:\n  transforms: [ToCHWImage]\n"
        '  PostProcess: {name: Topk, class_id_map_file: "D:\\train\\names.txt"}\n'
    )
    assert read_description(Source(tmp_path / "x.yaml")).labels == ("a", "b")


def test_the_delimiter_of_a_label_file(
    read: Callable[..., InferenceDescription], tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("1,cock, rooster\n0,tench, Tinca tinca\n")
    section = {"topk": 1, "class_id_map_file": "names.txt", "delimiter": ","}
    described = read({"Infer": {"transforms": LIST, "PostProcess": {"name": "Topk", **section}}})
    assert described.labels == ("tench, Tinca tinca", "cock, rooster")


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (evaluated("MyDataset"), "MyDataset is not one of ImageNetDataset"),
        (evaluated(None), "None is not one of"),
        (evaluated("VeriWild", backend="pil"), "end the list with ToCHWImage"),
        (evaluated("ImageNetDataset", "all"), "must be a list of operators"),
        (evaluated("ImageNetDataset", None), "neither Infer.transforms nor DataLoader"),
        ({**evaluated("ImageNetDataset"), "Global": {"eval_mode": "retrieval"}}, "gives features"),
        (
            {**evaluated("CompCars"), "Arch": {"infer_output_key": "features"}},
            "infer_output_key is features: the model gives features",
        ),
        ({"RecPreProcess": {}}, "holds RecPreProcess: it is of image retrieval"),
        ({"Deploy": {"transforms": []}}, "of a segmentation by PaddleSeg"),
    ],
)
def test_what_is_of_no_classifier_or_unknown_is_refused(
    read: Callable[..., InferenceDescription], document: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConversionError, match=cause) as error:
        read(document)
    assert "train.yaml: " in str(error.value)
