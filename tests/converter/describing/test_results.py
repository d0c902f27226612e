"""What a result holds: graph, description and options agree, or the conversion says why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bundle import Bundle, BundleError, load_bundle
from bundle.thresholds import Thresholds
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.verify import verify
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from pipeline.classifier import Classifier
from pipeline.predictors import create_predictor
from pipeline.stages.activation import activate
from tests.patience import PATIENCE_S

MakeExport = Callable[..., Path]

OPERATORS = [
    {"ResizeImage": {"size": [4, 4]}},
    {"NormalizeImage": {"order": ""}},
    {"ToCHWImage": None},
]
LABELS = ["a", "b", "c"]


def described(**postprocess: object) -> str:
    """An inference.yml with this PostProcess, its labels in the last section."""
    *_, last = postprocess.values()
    assert isinstance(last, dict)
    last["label_list"] = LABELS
    return yaml.safe_dump(
        {"PreProcess": {"transform_ops": OPERATORS}, "PostProcess": postprocess}, sort_keys=False
    )


TOPK = {"Topk": {"topk": 2}}
SEVERAL = {"MultiLabelThreshOutput": {"threshold": 0.4}}


@pytest.fixture
def converted(make_export: MakeExport, tmp_path: Path) -> Callable[..., Bundle]:
    """Convert a graph that ends in `last`, with a description and options."""

    def run(last: str, postprocess: dict[str, Any], **options: Any) -> Bundle:
        export = make_export("pdmodel", description=described(**postprocess), last=last)
        return convert(ConvertOptions(export, tmp_path / "out", Overrides(**options)))

    return run


@pytest.mark.parametrize(
    ("last", "postprocess", "options", "expected"),
    [
        # ending, description, options -> kind, topk, thresholds, what is applied
        ("softmax", TOPK, {}, ("Topk", 2, None, None)),
        ("softmax", SEVERAL, {"single_label": True}, ("Topk", 3, None, None)),
        ("softmax", TOPK, {"single_label": True}, ("Topk", 2, None, None)),
        ("sigmoid", TOPK, {}, ("Topk", 2, None, None)),
        ("sigmoid", SEVERAL, {}, ("MultiLabelThreshOutput", 0, 0.4, None)),
        ("sigmoid", SEVERAL, {"threshold": 0.7}, ("MultiLabelThreshOutput", 0, 0.7, None)),
        ("sigmoid", TOPK, {"multi_label": True}, ("MultiLabelThreshOutput", 0, 0.5, None)),
        ("sigmoid", SEVERAL, {"single_label": True}, ("Topk", 3, None, None)),
        ("", TOPK, {"softmax": True}, ("Topk", 2, None, "softmax")),
        ("", TOPK, {"logits": True}, ("Topk", 2, None, "none")),
        ("", TOPK, {"multi_label": True}, ("MultiLabelThreshOutput", 0, 0.5, "sigmoid")),
        ("", SEVERAL, {}, ("MultiLabelThreshOutput", 0, 0.4, "sigmoid")),
        ("", {"Softmax": None, **TOPK}, {}, ("Topk", 2, None, "softmax")),
        ("", {"Sigmoid": None, **TOPK}, {}, ("Topk", 2, None, "sigmoid")),
        ("", {"Logits": None, **TOPK}, {}, ("Topk", 2, None, "none")),
        ("", {"Logits": None, **TOPK}, {"softmax": True}, ("Topk", 2, None, "softmax")),
        ("log_softmax", TOPK, {"softmax": True}, ("Topk", 2, None, "softmax")),
        ("log_softmax", TOPK, {"logits": True}, ("Topk", 2, None, "none")),
        ("logsigmoid", TOPK, {"logits": True}, ("Topk", 2, None, "none")),
    ],
)
def test_what_is_meant_is_served(
    converted: Callable[..., Bundle],
    last: str,
    postprocess: dict[str, Any],
    options: dict[str, Any],
    expected: tuple[str, int, float | None, str | None],
) -> None:
    bundle = converted(last, json.loads(json.dumps(postprocess)), **options)
    description = bundle.description
    kind, topk, threshold, activation = expected
    thresholds = None if threshold is None else Thresholds(threshold)
    assert (description.kind, description.topk) == (kind, topk)
    assert (description.thresholds, description.activation) == (thresholds, activation)
    assert description.contradiction(bundle.output_activation) == ""


@pytest.mark.parametrize(
    ("last", "postprocess", "options", "cause"),
    [
        ("", TOPK, {}, "raw logits; say .*--softmax .*--multi-label .*--logits"),
        ("relu", TOPK, {"single_label": True}, "raw logits; say"),
        ("log_softmax", TOPK, {}, "log-softmax.* give --softmax, which makes the probabilities"),
        (
            "logsigmoid",
            TOPK,
            {},
            "log-sigmoid.* export the model with the sigmoid itself, or .*--logits",
        ),
        ("logsigmoid", TOPK, {"softmax": True}, "log-sigmoid"),
        ("logsigmoid", SEVERAL, {}, "log-sigmoid"),
        ("log_softmax", SEVERAL, {}, "ends with a log-softmax, whose scores add up to 1"),
        (
            "softmax",
            SEVERAL,
            {},
            r"inference\.yml: says that an image may have several labels, .* ends with a softmax, "
            "whose scores add up to 1, .*-o Global.use_multilabel=True.*--single-label",
        ),
        ("softmax", TOPK, {"multi_label": True}, "--multi-label: .* softmax.* leave it out"),
        ("softmax", TOPK, {"softmax": True}, "--softmax: .* already"),
        ("softmax", TOPK, {"logits": True}, "--logits: the graph ends with a softmax"),
        ("sigmoid", TOPK, {"logits": True}, "--logits: the graph ends with a sigmoid"),
        ("", SEVERAL, {"logits": True}, "--logits: an image may have several labels"),
        ("", TOPK, {"logits": True, "softmax": True}, "--softmax and --logits exclude one another"),
        ("", TOPK, {"multi_label": True, "single_label": True}, "exclude one another"),
        ("softmax", TOPK, {"threshold": 0.3}, "--threshold: belongs to models of several labels"),
        ("sigmoid", SEVERAL, {"threshold": 1.3}, "--threshold 1.3: must be a number from 0 to 1"),
    ],
)
def test_what_contradicts_itself_is_refused(
    converted: Callable[..., Bundle],
    tmp_path: Path,
    last: str,
    postprocess: dict[str, Any],
    options: dict[str, Any],
    cause: str,
) -> None:
    with pytest.raises(ConversionError, match=cause):
        converted(last, json.loads(json.dumps(postprocess)), **options)
    assert not (tmp_path / "out").exists()


def test_a_softmax_that_is_described_and_there_already(
    make_export: MakeExport, tmp_path: Path
) -> None:
    """A softmax of a softmax makes all scores nearly equal; nothing is added."""
    export = make_export("pdmodel", description=described(Softmax=None, Topk={"topk": 2}))
    warnings: list[str] = []
    bundle = convert(ConvertOptions(export, tmp_path / "out"), warnings.append)
    assert bundle.description.activation is None
    assert any("nothing is added" in text for text in warnings)


def test_the_command_says_what_is_missing(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = make_export(last=""), tmp_path / "out"
    arguments = ["convert", str(export), "--no-onnx", "--output", str(out)]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no softmax or sigmoid is found at the graph's end")
    assert main([*arguments, "--logits"]) == 0
    assert "raw logits are returned, as requested" in " ".join(capsys.readouterr().out.split())
    record = yaml.safe_load((out / "bundle.yml").read_text())
    assert record["options"] == {"logits": True}
    assert main(["inspect", str(export)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "convert with --softmax (or --multi-label, or --logits)" in shown
    # the bundle's own description says it again, so its folder is an export
    assert (
        main(
            ["convert", str(out / "serving_server"), "--no-onnx", "--output", str(tmp_path / "two")]
        )
        == 0
    )
    for exclusive in (["--softmax", "--logits"], ["--multi-label", "--single-label"]):
        with pytest.raises(SystemExit) as stop:
            main([*arguments, *exclusive])
        assert stop.value.code == 2


def test_the_probabilities_of_log_probabilities(
    tmp_path: Path, write_onnx: Callable[..., dict[str, np.ndarray]]
) -> None:
    """The softmax of a log-softmax is the softmax of the logits, exactly."""
    folder = tmp_path / "export"
    folder.mkdir()
    write_onnx(folder / "net.onnx", last="LogSoftmax", size=4)
    (folder / "inference.yml").write_text(described(Topk={"topk": 3}))
    bundle = convert(ConvertOptions(folder, tmp_path / "out", Overrides(softmax=True)))
    assert bundle.output_activation == "log_softmax"
    batch = np.random.default_rng(2).normal(0, 2, (4, 3, 4, 4)).astype(np.float32)
    logs = create_predictor(bundle).predict(batch)
    assert np.allclose(activate(logs, bundle.description.activation), np.exp(logs), atol=1e-6)


class TestThresholds:
    """One threshold for all classes, or one for each."""

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (0.3, (0.3, 0.3, 0.3)),
            ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3)),
            ({"default": 0.7, 1: 0.4}, (0.7, 0.4, 0.7)),
            ({"default": 0.7, "2": 0.4}, (0.7, 0.7, 0.4)),  # PaddleX takes text too
        ],
    )
    def test_a_description_has_them(
        self, converted: Callable[..., Bundle], given: object, expected: tuple[float, ...]
    ) -> None:
        bundle = converted("sigmoid", {"MultiLabelThreshOutput": {"threshold": given}})
        thresholds = bundle.description.thresholds
        assert thresholds is not None
        assert thresholds.of_classes(3) == expected
        assert load_bundle(bundle.path).description == bundle.description

    @pytest.mark.parametrize(
        ("given", "cause"),
        [
            ([0.1, 0.2], "lists 2 thresholds for 3 classes"),
            ([0.1, 0.2, 0.3, 0.4], "lists 4 thresholds for 3 classes"),
            ({"default": 0.7, 3: 0.4}, "a threshold of class 3, and the classes are 0 to 2"),
            ({1: 0.4}, "none for the others; write default"),
            ({"default": 0.7, "c": 0.4}, "'c' is no class number"),
            ({"default": 0.7, 1: 0.4, "01": 0.5}, "is given twice"),
            ([0.1, 0.2, 2], "number from 0 to 1"),
            ({"default": 0.7, 1: None}, "number from 0 to 1"),
            ([], "number from 0 to 1"),
        ],
    )
    def test_wrong_ones_are_refused(
        self, converted: Callable[..., Bundle], given: object, cause: str
    ) -> None:
        with pytest.raises(BundleError, match=rf"MultiLabelThreshOutput\.threshold.*{cause}"):
            converted("sigmoid", {"MultiLabelThreshOutput": {"threshold": given}})

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[0.1, 0.2, 0.3]", (0.1, 0.2, 0.3)),
            ("b: 0.4\n", (0.5, 0.4, 0.5)),
            ("2: 0.4\ndefault: 0.8\n", (0.8, 0.8, 0.4)),
            ('{"a": 1, "b": 0}', (1, 0, 0.5)),
        ],
    )
    def test_an_option_gives_them_by_file(
        self,
        make_export: MakeExport,
        tmp_path: Path,
        text: str,
        expected: tuple[float, ...],
    ) -> None:
        (tmp_path / "t.yml").write_text(text)
        export = make_export(
            "pdmodel", description=described(**{"MultiLabelThreshOutput": {}}), last="sigmoid"
        )
        out = tmp_path / "out"
        options = ["--output", str(out), "--threshold", str(tmp_path / "t.yml")]
        assert main(["convert", str(export), *options]) == 0
        thresholds = load_bundle(out).description.thresholds
        assert thresholds is not None
        assert thresholds.of_classes(3) == expected

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("d: 0.4\n", "'d' is the label of no class"),
            ("a: x\n", "a must be a number from 0 to 1"),
            ("text", "must hold a list of thresholds"),
            ("[0.1]", "lists 1 thresholds for 3 classes"),
            ("7: 0.1", "a threshold of class 7"),
        ],
    )
    def test_files_that_do_not_fit(
        self, converted: Callable[..., Bundle], tmp_path: Path, text: str, cause: str
    ) -> None:
        (tmp_path / "t.yml").write_text(text)
        with pytest.raises((ConversionError, BundleError), match=cause):
            converted("sigmoid", json.loads(json.dumps(SEVERAL)), threshold=tmp_path / "t.yml")

    def test_a_file_that_is_not_there(self, converted: Callable[..., Bundle]) -> None:
        with pytest.raises(ConversionError, match=r"x\.yml: neither a number nor a text file"):
            converted("sigmoid", json.loads(json.dumps(SEVERAL)), threshold=Path("x.yml"))

    def test_a_label_that_is_a_truth_value(self, make_export: MakeExport, tmp_path: Path) -> None:
        text = described(**{"MultiLabelThreshOutput": {}}).replace("- a", "- 'no'")
        (tmp_path / "t.yml").write_text("no: 0.25\n")
        export = make_export("pdmodel", description=text, last="sigmoid")
        overrides = Overrides(threshold=tmp_path / "t.yml")
        thresholds = convert(
            ConvertOptions(export, tmp_path / "out", overrides)
        ).description.thresholds
        assert thresholds == Thresholds(0.5, {0: 0.25})


def test_verify_and_inspect_name_a_bundle_that_contradicts_itself(
    tmp_path: Path, write_onnx: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Bundles that were converted before go on serving; these commands say what is wrong."""
    folder = tmp_path / "export"
    folder.mkdir()
    write_onnx(folder / "net.onnx", size=4)
    (folder / "inference.yml").write_text(described(Topk={"topk": 3}))
    bundle = convert(ConvertOptions(folder, tmp_path / "out")).path
    whole = verify(bundle)
    assert whole.contradiction == ""
    assert whole.scores.endswith("those of an image add up to 1")
    (bundle / "serving_server/inference.yml").write_text(described(**SEVERAL))
    assert main(["inspect", str(bundle)]) == 0
    assert "at most one label reaches 0.5" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", str(bundle)]) == 0
    assert "at most one label reaches 0.5" in " ".join(capsys.readouterr().out.split())
    write_onnx(folder / "net.onnx", size=4, last=None)
    raw = convert(ConvertOptions(folder, tmp_path / "raw", Overrides(logits=True))).path
    assert verify(raw).contradiction == ""
    (raw / "serving_server/inference.yml").write_text(described(Topk={"topk": 3}))
    assert "raw logits; convert it again with --softmax" in verify(raw).contradiction
    classifier = Classifier(load_bundle(raw), create_predictor(load_bundle(raw)))
    classifier.warm_up([1])


def test_the_same_on_python_3_8(root: Path, tmp_path: Path) -> None:
    """The official engine's host reads the same descriptions."""
    python = root / "build/paddle-serving-env/bin/python"
    if not python.exists():
        pytest.skip("the official packages are not installed")
    (tmp_path / "a.yml").write_text(
        described(**{"MultiLabelThreshOutput": {"threshold": {"default": 0.7, 1: 0.4}}})
    )
    script = (
        "import sys; from pathlib import Path; from bundle.inference_yml import read_inference_yml;"
        "print(read_inference_yml(Path(sys.argv[1])).thresholds.of_classes(3))"
    )
    done = subprocess.run(
        [str(python), "-c", script, str(tmp_path / "a.yml")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == "(0.7, 0.4, 0.7)"
    assert sys.version_info >= (3, 10)
