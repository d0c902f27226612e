"""PaddleClas' deploy and training YAMLs in the forms they have had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundle import Bundle, BundleError
from bundle.thresholds import Thresholds
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from pipeline.classifier import Classifier
from protocol.request import EncodedImage

MakeExport = Callable[..., Path]

OPS = """
    - ResizeImage: {resize_short: 6}
    - CropImage: {size: 4}
    - NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.5, 0.5], std: [1, 1, 1], order: ''}
    - ToCHWImage:
"""
GLOBAL = "Global: {infer_imgs: ./images, inference_model_dir: ./models, use_gpu: True}\n"
DEPLOY = GLOBAL + "PreProcess:\n  transform_ops:" + OPS
TRAINING = (
    "Arch: {name: PPLCNetV2_base, class_num: 3}\n"
    "Infer:\n  infer_imgs: a.jpg\n  transforms:\n"
    "    - DecodeImage: {to_rgb: True, channel_first: False}" + OPS
)
NUMBERED = "0 tench, Tinca tinca\n1 可回收物/纸板\n2 c\n"


def nested(kind: str, options: str) -> str:
    return (
        f"PostProcess:\n  main_indicator: {kind}\n  {kind}: {options}\n"
        "  SavePreLabel: {save_dir: ./pre_label/}\n"
    )


@pytest.fixture
def convert_with(make_export: MakeExport, tmp_path: Path) -> Callable[..., Bundle]:
    """Convert a three-class model with a description, its label file in ../ppcls/utils."""

    def run(
        text: str, *, last: str = "softmax", label_file: str | None = NUMBERED, **overrides: object
    ) -> Bundle:
        export = make_export("pdmodel", description=None, last=last)
        deploy = tmp_path / "PaddleClas/deploy/configs"
        utils = tmp_path / "PaddleClas/ppcls/utils"
        for folder in (deploy, utils):
            folder.mkdir(parents=True)
        (deploy / "inference_cls.yaml").write_text(text, encoding="utf-8")
        if label_file is not None:
            (utils / "labels.txt").write_text(label_file, encoding="utf-8")
        given = Overrides(preprocess=str(deploy / "inference_cls.yaml"), **overrides)  # type: ignore[arg-type]
        return convert(ConvertOptions(export, tmp_path / "out", given))

    return run


@pytest.mark.parametrize(
    "text",
    [
        DEPLOY + nested("Topk", "{topk: 2, class_id_map_file: ../ppcls/utils/labels.txt}"),
        DEPLOY
        + "PostProcess: {name: Topk, topk: 2, class_id_map_file: ../ppcls/utils/labels.txt}\n",
        TRAINING + "  PostProcess:\n    name: Topk\n    topk: 2\n"
        "    class_id_map_file: ../ppcls/utils/labels.txt\n",
    ],
    ids=["deploy", "deploy of old", "training"],
)
def test_preprocessing_labels_and_topk(convert_with: Callable[..., Bundle], text: str) -> None:
    bundle = convert_with(text)
    description = bundle.description
    assert [o.name for o in description.transform_ops][-4:] == [
        "ResizeImage",
        "CropImage",
        "NormalizeImage",
        "ToCHWImage",
    ]
    assert bundle.labels == ("tench, Tinca tinca", "可回收物/纸板", "c")
    assert (description.topk, description.multi_label) == (2, False)
    written = (bundle.server_dir / "inference.yml").read_text(encoding="utf-8")
    assert not any(word in written for word in ("class_id_map_file", "infer_imgs", "pre_label"))


def test_a_model_of_several_labels(convert_with: Callable[..., Bundle]) -> None:
    section = nested(
        "MultiLabelThreshOutput",
        "{threshold: 0.4, class_id_map_file: ../ppcls/utils/labels.txt, delimiter: ' '}",
    )
    description = convert_with(DEPLOY + section, last="sigmoid").description
    assert (description.multi_label, description.topk) == (True, 0)
    assert description.thresholds == Thresholds(0.4)
    assert description.activation is None


@pytest.mark.parametrize("form", ["deploy", "flat"])
@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_yes_or_no(make_export: MakeExport, tmp_path: Path, threshold: float, form: str) -> None:
    """PULC's models of two classes decide for the second at their own threshold, and not at 0.5."""
    options = f"threshold: {threshold}, label_0: nobody, label_1: someone"
    flat = f"PostProcess: {{name: ThreshOutput, {options}}}\n"
    section = nested("ThreshOutput", f"{{{options}}}") if form == "deploy" else flat
    (tmp_path / "person.yaml").write_text(DEPLOY + section)
    overrides = Overrides(preprocess=str(tmp_path / "person.yaml"))
    export = make_export("pdmodel", description=None, classes=2)
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    description = bundle.description
    assert bundle.labels == ("nobody", "someone")
    assert (description.topk, description.multi_label) == (1, False)
    assert description.positive_threshold == threshold
    # PaddleClas: class 1 if its score is not below the threshold, else class 0 with 1 - score
    service = Classifier(bundle, NoPredictor())
    for score in (0.1, 0.5, 0.7, 0.89, 0.9, 0.99):
        row = np.array([1 - score, score])
        decided, other = service.postprocess(row, 2, None)
        expected = ("someone", score) if score >= threshold else ("nobody", 1 - score)
        assert (decided.label, decided.score) == pytest.approx(expected)
        assert {decided.class_id, other.class_id} == {0, 1}
        assert service.postprocess(row, 1, None) == (decided,)
    # in a request or a service, threshold leaves out, as it does for every model
    assert [c.label for c in service.postprocess(np.array([0.2, 0.8]), 2, 0.5)] == ["someone"]
    # a bundle's folder is an export too
    again = convert(ConvertOptions(bundle.server_dir, tmp_path / "again"))
    assert again.description == description
    stricter = Overrides(preprocess=str(tmp_path / "person.yaml"), threshold=0.95)
    bundle = convert(ConvertOptions(export, tmp_path / "stricter", stricter))
    assert bundle.description.positive_threshold == 0.95
    with pytest.raises(BundleError, match="2 labels, too few"):
        convert(
            ConvertOptions(make_export("fluid", description=None), tmp_path / "other", overrides)
        )


def test_yes_or_no_of_three_classes(convert_with: Callable[..., Bundle], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    text = DEPLOY + nested("ThreshOutput", "{threshold: 0.9}")
    with pytest.raises(BundleError, match="decides between two classes, and the model has 3"):
        convert_with(text, labels=tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("func", "kind"),
    [("func: Topk, ", "Topk"), ("", "Topk"), ("func: MultiLabelThreshOutput, ", "M")],
)
def test_distillation_is_what_its_func_is(
    convert_with: Callable[..., Bundle], func: str, kind: str
) -> None:
    options = "class_id_map_file: ../ppcls/utils/labels.txt, model_name: Student, key: logits"
    several = kind == "M"
    more = "threshold: 0.3" if several else "topk: 2"
    text = DEPLOY + f"PostProcess: {{name: DistillationPostProcess, {func}{more}, {options}}}\n"
    description = convert_with(text, last="sigmoid" if several else "softmax").description
    assert description.labels == ("tench, Tinca tinca", "可回收物/纸板", "c")
    expected = (True, 0, Thresholds(0.3)) if several else (False, 2, None)
    assert (description.multi_label, description.topk, description.thresholds) == expected
    assert description.activation is None


@pytest.mark.parametrize(
    ("kind", "options", "classes", "expected"),
    [
        (
            "PersonAttribute",
            "{threshold: 0.5, glasses_threshold: 0.3, hold_threshold: 0.6}",
            26,
            {0: 0.5, 1: 0.3, 18: 0.6, 25: 0.5},
        ),
        ("VehicleAttribute", "{color_threshold: 0.4, type_threshold: 0.7}", 19, {9: 0.4, 10: 0.7}),
        ("TableAttribute", "{number_threshold: 0.2}", 6, {0: 0.5, 1: 0.2, 5: 0.5}),
        ("FaceAttribute", "{}", 40, {0: 0.65, 39: 0.65}),
    ],
)
def test_attributes_are_decided_at_their_own_thresholds(
    make_export: MakeExport,
    tmp_path: Path,
    kind: str,
    options: str,
    classes: int,
    expected: dict[int, float],
) -> None:
    """What PaddleClas calls output: 1 for each score that is over the threshold of its class."""
    (tmp_path / "a.yaml").write_text(DEPLOY + nested(kind, options))
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"attribute {number}\n" for number in range(classes)))
    overrides = Overrides(labels, str(tmp_path / "a.yaml"))
    export = make_export("pdmodel", description=None, classes=classes, last="sigmoid")
    warnings: list[str] = []
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides), warnings.append)
    assert any(f"{kind} is served as MultiLabelThreshOutput" in text for text in warnings)
    thresholds = bundle.description.thresholds
    assert thresholds is not None
    of_classes = thresholds.of_classes(classes)
    assert {number: of_classes[number] for number in expected} == expected
    service = Classifier(bundle, NoPredictor())
    for margin, reached in ((0.01, set(range(classes))), (-0.01, set())):
        row = np.array(of_classes) + margin
        (result,) = service.classify([image_with(service, row)])
        assert {category.class_id for category in result} == reached
    # a softmax at the end contradicts it
    wrong = make_export("fluid", description=None, classes=classes)
    with pytest.raises(
        ConversionError, match=r"several labels, and the graph ends .*use_multilabel"
    ):
        convert(ConvertOptions(wrong, tmp_path / "other", overrides), warnings.append)


class NoPredictor:
    """Gives the scores that it is set to."""

    name = "none"
    scores: np.ndarray

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.stack([self.scores] * len(batch)).astype(np.float64)


def image_with(service: Classifier, scores: np.ndarray) -> EncodedImage:
    """Some image, which the model gives `scores`."""
    assert isinstance(service.predictor, NoPredictor)
    service.predictor.scores = scores
    return EncodedImage(cv2.imencode(".png", np.zeros((300, 300, 3), np.uint8))[1].tobytes())


def test_the_training_yaml_of_one_who_only_evaluates(
    convert_with: Callable[..., Bundle], tmp_path: Path
) -> None:
    text = "Arch: {name: ResNet50_vd}\nDataLoader:\n  Eval:\n    dataset:\n      transform_ops:" + (
        OPS.replace("\n    ", "\n        ")
    )
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    bundle = convert_with(text, labels=labels)
    assert bundle.description.model_name == "ResNet50_vd"
    assert (bundle.labels, bundle.description.topk) == (("a", "b", "c"), 3)


def test_labels_that_are_nowhere_are_asked_for(convert_with: Callable[..., Bundle]) -> None:
    with pytest.raises(ConversionError, match="names of the classes are unknown"):
        convert_with(TRAINING)


def test_beside_the_model(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pdmodel", description=None)
    section = nested("Topk", "{topk: 2, class_id_map_file: ../elsewhere/names.txt}")
    (export / "inference_cls.yaml").write_text(DEPLOY + section)
    with pytest.raises(ConversionError, match=r"\.\./elsewhere/names\.txt is not here; .*--labels"):
        convert(ConvertOptions(export, tmp_path / "out"))
    # a copy beside it is found by its name
    (export / "names.txt").write_text("a\nb\nc\n")
    assert convert(ConvertOptions(export, tmp_path / "out")).labels == ("a", "b", "c")


def test_a_label_file_beside_the_model_is_taken(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pdmodel", description=None)
    (tmp_path / "ops.yml").write_text("transform_ops:" + OPS)
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"))
    (export / "labels.txt").write_text("a\nb\nc\n")
    assert convert(ConvertOptions(export, tmp_path / "out", overrides)).labels == ("a", "b", "c")
    (export / "label_list.txt").write_text("x\ny\nz\n")
    with pytest.raises(ConversionError, match=r"2 label files .*choose one with --labels"):
        convert(ConvertOptions(export, tmp_path / "two", overrides))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (DEPLOY + nested("ScoreOutput", "{decimal_places: 3}"), "ScoreOutput, which is of a model"),
        (DEPLOY + nested("Own", "{threshold: 0.5}"), "PostProcess is Own, which is not known here"),
        (DEPLOY + nested("ThreshOutput", "{label_0: a}"), "threshold must be a number from 0 to 1"),
        (
            DEPLOY + "PostProcess: {main_indicator: none, Topk: {topk: 1}, Own: {x: 1}}\n",
            "Topk, Own, and does not say which of them",
        ),
        (GLOBAL + nested("Topk", "{topk: 1}"), "transform_ops must be a list"),
        ("Infer: {PostProcess: {name: Topk}}\n", "neither Infer.transforms nor DataLoader"),
        ("Arch: {name: x}\n", "holds none of PreProcess"),
        (
            DEPLOY + nested("ThreshOutput", "{threshold: 0.5, label_0: no, label_1: yes}"),
            "line .*: the label of class 0 is no, which YAML reads as a truth value",
        ),
        (DEPLOY + nested("Topk", "{topk: two}"), "topk must be 1 or more"),
        (DEPLOY + nested("MultiLabelThreshOutput", "{threshold: 2}"), "number from 0 to 1"),
    ],
)
def test_what_cannot_be_served_is_refused(
    convert_with: Callable[..., Bundle], tmp_path: Path, text: str, cause: str
) -> None:
    with pytest.raises((ConversionError, BundleError), match=cause) as error:
        convert_with(text)
    assert "inference_cls.yaml" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_labels_that_do_not_fit_are_blamed_on_their_file(
    make_export: MakeExport, tmp_path: Path
) -> None:
    export = make_export("pdmodel", description=None)
    section = nested("Topk", "{topk: 2, class_id_map_file: ../utils/imagenet1k_label_list.txt}")
    (export / "inference_cls.yaml").write_text(DEPLOY + section)
    (export / "imagenet1k_label_list.txt").write_text("a\nb\n")
    with pytest.raises(BundleError, match=r"imagenet1k_label_list\.txt has 2 labels") as error:
        convert(ConvertOptions(export, tmp_path / "out"))
    assert str(error.value).endswith("or give others with --labels FILE")
    (export / "labels.txt").write_text("a\nb\nc\n")
    with pytest.raises(BundleError, match=r"--labels .*export/pdmodel/labels\.txt$"):
        convert(ConvertOptions(export, tmp_path / "out"))
