"""Whatever a damaged or edited export holds, the answer is a bundle or one line that says why."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from converter.__main__ import main

MakeExport = Callable[..., Path]

OPERATORS: list[dict[str, Any]] = [
    {"DecodeImage": {"to_rgb": True}},
    {"ResizeImage": {"size": [4, 4], "interpolation": "bilinear"}},
    {"CropImage": {"size": 4}},
    {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.5] * 3, "order": ""}},
    {"ToCHWImage": None},
]
LABELS = ["a", "b", "c"]
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "inference.yml": {
        "Global": {"model_name": "m"},
        "PreProcess": {"transform_ops": OPERATORS},
        "PostProcess": {"Softmax": None, "Topk": {"topk": 2, "label_list": LABELS}},
    },
    "inference.yml of several labels": {
        "PreProcess": {"transform_ops": OPERATORS},
        "PostProcess": {"MultiLabelThreshOutput": {"threshold": 0.5, "label_list": LABELS}},
    },
    "model.yml": {
        "version": "1.3.4",
        "Model": "R",
        "TransformsMode": "RGB",
        "Transforms": [
            {"ResizeByShort": {"short_size": 8, "max_size": -1, "interp": "LINEAR"}},
            {"Resize": {"target_size": [9, 9]}},
            {"CenterCrop": {"crop_size": 4}},
            {"Normalize": {"mean": [0.5] * 3, "std": [0.5] * 3, "min_val": [0] * 3}},
        ],
        "_Attributes": {"labels": LABELS, "model_type": "classifier"},
    },
    "inference_cls.yaml": {
        "Global": {"infer_imgs": "x"},
        "PreProcess": {"transform_ops": OPERATORS},
        "PostProcess": {
            "main_indicator": "Topk",
            "Topk": {"topk": 5, "class_id_map_file": "../l.txt", "delimiter": " "},
        },
    },
    "training.yaml": {
        "Arch": {"name": "R"},
        "Infer": {
            "transforms": OPERATORS,
            "PostProcess": {"name": "Topk", "topk": 5, "class_id_map_file": "l.txt"},
        },
    },
    "training.yaml that evaluates": {
        "Global": {
            "image_shape": [3, 4, 4],
            "use_multilabel": False,
            "eval_mode": "classification",
        },
        "Arch": {"name": "D", "models": [{"S": {"name": "R"}}], "infer_model_name": "S"},
        "Metric": {"Eval": [{"TopkAcc": {"topk": [1, 5]}}]},
        "Infer": {"transforms": OPERATORS[:1]},
        "DataLoader": {
            "Eval": {"dataset": {"name": "ImageNetDataset", "transform_ops": OPERATORS[:-1]}}
        },
    },
    "training.yaml of release 1": {
        "ARCHITECTURE": {"name": "R"},
        "multilabel": False,
        "VALID": {"transforms": OPERATORS},
    },
    "infer_cfg.yml": {
        "arch": "PPHGNet",
        "Preprocess": [
            {"type": "Resize", "target_size": [4, 4], "keep_ratio": False, "interp": 2},
            {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.5] * 3, "is_scale": True},
            {"type": "Permute"},
        ],
        "label_list": LABELS,
    },
    "inference.yml of PaddleOCR": {
        "Global": {"label_list": LABELS},
        "PreProcess": {
            "transform_ops": [
                {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
                {"ClsLabelEncode": None},
                {"ClsResizeImg": {"image_shape": [3, 4, 4]}},
            ]
        },
        "PostProcess": {"name": "ClsPostProcess"},
    },
}
ODD: list[Any] = [
    None, True, 0, -1, 3.5, float("nan"), 10**30, "", "text", "1/0", [], {}, [1, 2], [None],
    {"a": 1}, "纸", [[1]], {"b": [{}]}, "0", [0, 0, 0],
]  # fmt: skip


def mutated(document: Any, chance: random.Random) -> Any:
    """The document with one value replaced, taken out or added, anywhere in it."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    document = copy.deepcopy(document)
    walk(document)
    node, key = chance.choice(places)
    kind = chance.random()
    if kind < 0.6:
        node[key] = chance.choice(ODD)
    elif kind < 0.8:
        del node[key]
    elif isinstance(node, dict):
        node[chance.choice(["new", 1, None, "Topk", "Sigmoid", "name"])] = chance.choice(ODD)
    return document


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with a few other bytes, or cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.2 else changed)


@pytest.fixture
def answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """Convert a folder in this process; a refusal is one line, after warnings."""
    numbers: Iterator[int] = iter(range(10_000))

    def run(export: Path, *options: str) -> int:
        output = tmp_path / f"out{next(numbers)}"
        code = main(["convert", str(export), "--no-onnx", "--output", str(output), *options])
        *warnings, last = capsys.readouterr().err.splitlines() or [""]
        assert all(line.startswith("warning: ") for line in warnings)
        if code:
            assert last.startswith("error: ")
            assert not output.exists()
        return code

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions(
    make_export: MakeExport, answer: Callable[..., int], tmp_path: Path, name: str
) -> None:
    chance = random.Random(name)
    several = "MultiLabelThreshOutput" in str(DESCRIPTIONS[name])
    logits = "'Softmax': None" in str(DESCRIPTIONS[name])
    last = "sigmoid" if several else "" if logits else "softmax"
    export = make_export("pdmodel", description=None, last=last)
    (export / "l.txt").write_text("a\nb\nc\n")
    file = export / name.partition(" ")[0]
    options = ["--labels", str(export / "l.txt")] if name.startswith("training.yaml ") else []
    file.write_text(yaml.safe_dump(DESCRIPTIONS[name], allow_unicode=True), encoding="utf-8")
    assert answer(export, *options) == 0
    codes = set()
    for _ in range(60):
        document = mutated(DESCRIPTIONS[name], chance)
        file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        codes.add(answer(export, *options))
    assert codes == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["pir", "pdmodel", "fluid", "separate"])
def test_graphs_and_parameters(
    make_export: MakeExport, answer: Callable[..., int], layout: str
) -> None:
    chance = random.Random(layout)
    export = make_export(layout)
    files = [file for file in export.iterdir() if file.suffix != ".yml"]
    whole = {file: file.read_bytes() for file in files}
    codes = set()
    for _ in range(60):
        chosen = chance.choice(files)
        chosen.write_bytes(damaged(whole[chosen], chance))
        codes.add(answer(export))
        chosen.write_bytes(whole[chosen])
    assert 1 in codes


@pytest.mark.slow
def test_a_pir_program(make_export: MakeExport, answer: Callable[..., int]) -> None:
    chance = random.Random(3)
    export = make_export("pir")
    document = json.loads((export / "inference.json").read_text())
    codes = set()
    for _ in range(150):
        (export / "inference.json").write_text(json.dumps(mutated(document, chance)))
        codes.add(answer(export))
    assert codes == {0, 1}


def test_the_record_of_a_bundle(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not needed to serve, and looking at a bundle with an odd one is no crash."""
    chance = random.Random(4)
    bundle = tmp_path / "bundle"
    assert main(["convert", str(make_export("pir")), "--no-onnx", "--output", str(bundle)]) == 0
    document = yaml.safe_load((bundle / "bundle.yml").read_text(encoding="utf-8"))
    for _ in range(100):
        changed = mutated(document, chance)
        (bundle / "bundle.yml").write_text(yaml.safe_dump(changed), encoding="utf-8")
        capsys.readouterr()
        code = main(["inspect", str(bundle)])
        assert capsys.readouterr().err.count("\n") == code


def test_onnx(
    write_onnx: Callable[..., object], answer: Callable[..., int], tmp_path: Path
) -> None:
    chance = random.Random(7)
    export = tmp_path / "export"
    export.mkdir()
    write_onnx(export / "net.onnx", size=4)
    description = DESCRIPTIONS["inference.yml"]
    (export / "inference.yml").write_text(yaml.safe_dump(description))
    whole = (export / "net.onnx").read_bytes()
    codes = set()
    for _ in range(60):
        (export / "net.onnx").write_bytes(damaged(whole, chance))
        codes.add(answer(export))
    assert 1 in codes


@pytest.mark.parametrize("form", ["utf-8", "gbk", "utf-16", "big5", "json"])
def test_label_files(make_export: MakeExport, answer: Callable[..., int], form: str) -> None:
    chance = random.Random(form)
    export = make_export("pir")
    file = export.parent / ("l.json" if form == "json" else "l.txt")
    for _ in range(40):
        if form == "json":
            document = mutated({"0": "a", "1": "b", "2": "玻璃"}, chance)
            file.write_text(json.dumps(document), encoding="utf-8")
        else:
            file.write_bytes(damaged("0 玻璃\n1 b\n2 c\n".encode(form), chance))
        answer(export, "--labels", str(file))
