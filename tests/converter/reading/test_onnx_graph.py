"""ONNX models, as PyTorch, Keras and TensorFlow export them, become bundles that answer right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundle import BundleError, load_bundle
from bundle.formats import ONNX
from bundle.thresholds import Thresholds
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.inspection import inspect_folder
from converter.checking.verify import verify
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from converter.reading.exported_model import read_export
from pipeline.classifier import Classifier, ClassifierSettings
from pipeline.engine.building import build_classifier
from pipeline.predictors import PredictorError, create_predictor
from protocol.request import EncodedImage

WriteOnnx = Callable[..., dict[str, np.ndarray]]

OPS = "- ResizeImage: {size: [8, 8]}\n- NormalizeImage: {order: ''}\n- ToCHWImage:\n"


@pytest.fixture
def overrides(tmp_path: Path) -> Overrides:
    (tmp_path / "ops.yml").write_text(OPS)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    return Overrides(tmp_path / "labels.txt", str(tmp_path / "ops.yml"))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    (tmp_path / "export").mkdir()
    return tmp_path / "export"


def image(*color: int) -> bytes:
    return cv2.imencode(".png", np.full((20, 30, 3), color[::-1], np.uint8))[1].tobytes()


def means(*color: int) -> np.ndarray:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (np.array(color) / 255 - mean) / std


def softmax(logits: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(logits - logits.max())
    return powers / powers.sum()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def answers(bundle_dir: Path, *images: bytes) -> list[dict[str, float]]:
    bundle = load_bundle(bundle_dir)
    classifier = Classifier(bundle, create_predictor(bundle))
    results = classifier.classify([EncodedImage(data) for data in images])
    return [{category.label: category.score for category in result} for result in results]  # type: ignore[union-attr]


@pytest.mark.parametrize("external", [False, True])
def test_a_model_is_converted_and_answers(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx, external: bool
) -> None:
    weights = write_onnx(export / "net.onnx", external=external)
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert bundle.graph_format is ONNX
    (feed,), (fetch,) = bundle.model_config.feeds, bundle.model_config.fetches
    assert (feed.name, feed.alias, feed.dtype, feed.shape) == ("x", "x", "float32", (3, 8, 8))
    assert (fetch.name, fetch.alias, fetch.shape) == ("scores", "prediction", (3,))
    assert (bundle.output_activation, bundle.fixed_batch) == ("softmax", None)
    (answer,) = answers(bundle.path, image(200, 30, 90))
    expected = softmax(means(200, 30, 90) @ weights["fc.w"] + weights["fc.b"])
    assert list(answer.values()) == pytest.approx(sorted(expected, reverse=True), abs=1e-5)


def test_logits_get_their_softmax_when_asked(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    weights = write_onnx(export / "net.onnx", last=None)
    given = Overrides(overrides.labels, overrides.preprocess, logits=True)
    plain = convert(ConvertOptions(export, tmp_path / "plain", given))
    given = Overrides(overrides.labels, overrides.preprocess, softmax=True)
    mended = convert(ConvertOptions(export, tmp_path / "mended", given))
    logits = means(10, 250, 90) @ weights["fc.w"] + weights["fc.b"]
    assert plain.output_activation == mended.output_activation == "none"
    (raw,) = answers(plain.path, image(10, 250, 90))
    assert sorted(raw.values()) == pytest.approx(sorted(logits), abs=1e-4)
    (scores,) = answers(mended.path, image(10, 250, 90))
    assert sorted(scores.values()) == pytest.approx(sorted(softmax(logits)), abs=1e-5)


@pytest.mark.parametrize("last", ["Sigmoid", None])
def test_several_labels_an_image(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx, last: str | None
) -> None:
    weights = write_onnx(export / "net.onnx", last=last)
    # a sigmoid is recognised; of logits it must be said
    given = Overrides(
        overrides.labels, overrides.preprocess, multi_label=last is None, threshold=0.25
    )
    bundle = convert(ConvertOptions(export, tmp_path / "out", given))
    assert (bundle.description.multi_label, bundle.description.thresholds) == (
        True,
        Thresholds(0.25),
    )
    colors = [(255, 0, 0), (0, 0, 0), (255, 255, 255), (0, 0, 255)]
    numbers = set()
    for color, answer in zip(
        colors, answers(bundle.path, *(image(*color) for color in colors)), strict=True
    ):
        scores = sigmoid(means(*color) @ weights["fc.w"] + weights["fc.b"])
        expected = {
            label: float(score)
            for label, score in zip(("red", "green", "blue"), scores, strict=True)
            if score >= 0.25
        }
        assert answer == pytest.approx(expected, abs=1e-5)
        assert list(answer.values()) == sorted(answer.values(), reverse=True)
        numbers.add(len(answer))
    assert len(numbers) > 1, "the colours should have different numbers of labels"


def test_a_model_of_pixels_takes_the_presets_too(
    tmp_path: Path, export: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    """Keras and TensorFlow want [N, H, W, 3]."""
    write_onnx(export / "net.onnx", pixels=True, size=456)
    given = Overrides(overrides.labels, "garbage40")
    bundle = convert(ConvertOptions(export, tmp_path / "out", given))
    names = [operator.name for operator in bundle.description.transform_ops]
    assert names == ["ResizeImage", "NormalizeImage"]
    (answer,) = answers(bundle.path, image(200, 30, 90))
    assert sum(answer.values()) == pytest.approx(1, abs=1e-5)
    planes = tmp_path / "planes.yml"
    planes.write_text("- ResizeImage: {size: [456, 456]}\n- ToCHWImage:\n")
    given = Overrides(overrides.labels, str(planes))
    with pytest.raises(ConversionError, match=r"\[456, 456, 3\]; take ToCHWImage out of"):
        convert(ConvertOptions(export, tmp_path / "other", given))


def test_the_scores_are_found_among_several_outputs(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    write_onnx(export / "net.onnx", class_ids=True)
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    fetches = [(fetch.name, fetch.alias, fetch.dtype) for fetch in bundle.model_config.fetches]
    assert fetches == [("class_id", "class_id", "int64"), ("scores", "prediction", "float32")]
    assert bundle.classes == 3
    (answer,) = answers(bundle.path, image(200, 30, 90))
    assert sum(answer.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("beside", [False, True])
def test_scores_that_a_topk_sorted_are_not_those_of_classes(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx, beside: bool
) -> None:
    """As many as there are classes, the best first: every image would be of the first class."""
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx")
    model, info = onnx.load(str(export / "net.onnx")), onnx.helper.make_tensor_value_info
    count = onnx.numpy_helper.from_array(np.array([3]), "count")
    model.graph.initializer.append(count)
    node = onnx.helper.make_node("TopK", ["scores", "count"], ["values", "places"])
    model.graph.node.append(node)
    if not beside:
        del model.graph.output[:]
    for name, kind in (("values", onnx.TensorProto.FLOAT), ("places", onnx.TensorProto.INT64)):
        model.graph.output.append(info(name, kind, ["N", 3]))
    onnx.save(model, str(export / "net.onnx"))
    if beside:
        bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
        assert bundle.model_config.fetches[bundle.model_config.answering].name == "scores"
    aliases = ("scores", "prediction", "places") if beside else None
    given = Overrides(overrides.labels, overrides.preprocess, logits=not beside)
    options = ConvertOptions(export, tmp_path / "other", given, fetch_aliases=aliases)
    with pytest.raises(ConversionError, match="'values' is sorted by size"):
        convert(options)


def test_the_softmax_is_found_behind_features(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    """Both have as many numbers as there are classes; only the graph's end shows it."""
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx")
    model = onnx.load(str(export / "net.onnx"))
    features = onnx.helper.make_tensor_value_info("means", onnx.TensorProto.FLOAT, ["N", 3])
    model.graph.output.insert(0, features)
    onnx.save(model, str(export / "net.onnx"))
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert [fetch.alias for fetch in bundle.model_config.fetches] == ["means", "prediction"]
    (answer,) = answers(bundle.path, image(200, 30, 90))
    assert sum(answer.values()) == pytest.approx(1, abs=1e-5)
    assert verify(bundle.path, export_dir=export).passed


def test_a_fixed_batch(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    write_onnx(export / "net.onnx", batch=2)
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert bundle.fixed_batch == 2
    one = answers(bundle.path, image(200, 30, 90))
    assert answers(bundle.path, *[image(200, 30, 90)] * 3) == [pytest.approx(one[0])] * 3


def test_a_softmax_within_a_function_of_the_model(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx", last=None)
    model = onnx.load(str(export / "net.onnx"))
    body = [onnx.helper.make_node("Softmax", ["a"], ["b"], axis=-1)]
    opset = onnx.helper.make_opsetid("", 17)
    model.functions.append(
        onnx.helper.make_function("local", "Probabilities", ["a"], ["b"], body, [opset])
    )
    model.opset_import.append(onnx.helper.make_opsetid("local", 1))
    model.graph.node[-1].CopyFrom(
        onnx.helper.make_node("Probabilities", ["fc"], ["scores"], domain="local")
    )
    onnx.save(model, str(export / "net.onnx"))
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert bundle.output_activation == "softmax"
    assert sum(answers(bundle.path, image(200, 30, 90))[0].values()) == pytest.approx(1)


def test_a_constant_that_lies_beside_the_model(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx", external=True)
    model = onnx.load(str(export / "net.onnx"), load_external_data=False)
    constant = onnx.helper.make_node("Constant", [], ["fc.b"])
    attribute = constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.CopyFrom(model.graph.initializer.pop(1))
    model.graph.node.insert(0, constant)
    (export / "net.onnx").write_bytes(model.SerializeToString())
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    assert sum(answers(bundle.path, image(200, 30, 90))[0].values()) == pytest.approx(1)


class TestBadInput:
    def test_truncated(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx")
        whole = (export / "net.onnx").read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 5):
            (export / "net.onnx").write_bytes(whole[:length])
            with pytest.raises(
                ConversionError, match=r"net\.onnx: .*(is empty|cut off|cannot load)"
            ):
                read_export(export)

    @pytest.mark.parametrize(
        "content", [b"<html>not found</html>", b"\x89PNG\r\n\x1a\n", b"\0" * 99]
    )
    @pytest.mark.usefixtures("write_onnx")
    def test_something_else(self, export: Path, content: bytes) -> None:
        (export / "net.onnx").write_bytes(content)
        with pytest.raises(ConversionError, match=r"net\.onnx: is no (ONNX model|graph: it is)"):
            read_export(export)

    def test_operators_of_its_own(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx", last="Swirl", domain="my.ops")
        with pytest.raises(
            ConversionError, match=r"operators of its own .my\.ops::Swirl.*standard"
        ):
            read_export(export)

    def test_an_operator_nobody_knows(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx", last="Swirl")
        with pytest.raises(ConversionError, match=r"ONNX Runtime .* cannot load it: .*Swirl"):
            read_export(export)

    def test_a_newer_format(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx", opset=999)
        with pytest.raises(ConversionError, match=r"[Oo]pset 999 .*older opset"):
            read_export(export)

    def test_parameters_beside_it_are_missing_or_cut_off(
        self, export: Path, write_onnx: WriteOnnx
    ) -> None:
        write_onnx(export / "net.onnx", external=True)
        data = export / "net.onnx.data"
        data.write_bytes(data.read_bytes()[:-4])
        with pytest.raises(ConversionError, match=r"net\.onnx\.data: is truncated: \d+ bytes"):
            read_export(export)
        data.unlink()
        with pytest.raises(
            ConversionError, match=r"net\.onnx\.data: the parameter file is missing"
        ):
            read_export(export)

    @pytest.mark.parametrize(
        ("key", "value", "cause"),
        [
            ("location", "../net.onnx.data", "outside its folder"),
            ("location", "/etc/passwd", "outside its folder"),
            ("location", "", "outside its folder"),
            ("location", "w" * 400, "outside its folder"),
            ("location", "other.data", r"other\.data: the parameter file is missing"),
            ("offset", "abc", "place of 'fc.w' in its file is no number"),
            ("offset", "-4", "place of 'fc.w' in its file is no number"),
            ("length", "9" * 20, "is truncated"),
            ("length", "", "is truncated"),
        ],
    )
    def test_odd_places_of_parameters(
        self, export: Path, write_onnx: WriteOnnx, key: str, value: str, cause: str
    ) -> None:
        onnx = pytest.importorskip("onnx")
        write_onnx(export / "net.onnx", external=True)
        model = onnx.load(str(export / "net.onnx"), load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == key:
                entry.value = value
        (export / "net.onnx").write_bytes(model.SerializeToString())
        data = export / "net.onnx.data"
        data.write_bytes(data.read_bytes()[:30] if not value else data.read_bytes())
        with pytest.raises(ConversionError, match=cause):
            read_export(export)

    def test_links_of_a_hubs_cache_are_followed(
        self, export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
    ) -> None:
        write_onnx(export / "net.onnx", external=True)
        cache = tmp_path / "models--me--net"
        snapshot = cache / "snapshots/1a2b"
        snapshot.parent.mkdir(parents=True)
        (cache / "blobs").mkdir()
        export.rename(snapshot)
        for name in ("net.onnx", "net.onnx.data"):
            (snapshot / name).rename(cache / f"blobs/sha-{name}")
            (snapshot / name).symlink_to(f"../../blobs/sha-{name}")
        bundle = convert(ConvertOptions(snapshot, tmp_path / "out", overrides))
        assert not bundle.model_file.is_symlink()
        assert sum(answers(bundle.path, image(200, 30, 90))[0].values()) == pytest.approx(1)

    def test_links_that_lead_out_of_the_folder_are_not_followed(
        self, export: Path, tmp_path: Path, write_onnx: WriteOnnx
    ) -> None:
        write_onnx(export / "net.onnx", external=True)
        (export / "net.onnx.data").rename(tmp_path / "secret")
        (export / "net.onnx.data").symlink_to(tmp_path / "secret")
        with pytest.raises(ConversionError, match=r"outside its folder: 'net\.onnx\.data'; copy"):
            read_export(export)

    def test_a_batch_that_no_memory_holds(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx", batch=2**40)
        with pytest.raises(ConversionError, match="takes 1099511627776 images a run"):
            read_export(export)

    def test_several_candidates(self, export: Path, write_onnx: WriteOnnx) -> None:
        write_onnx(export / "net.onnx")
        write_onnx(export / "best.onnx")
        with pytest.raises(ConversionError, match=r"2 models .best\.onnx, net\.onnx.*--model-file"):
            read_export(export)
        assert read_export(export, "net.onnx").model_file == export / "net.onnx"

    def test_a_softmax_too_many(
        self, export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
    ) -> None:
        write_onnx(export / "net.onnx")
        for given, cause in (
            (
                Overrides(overrides.labels, overrides.preprocess, softmax=True),
                "--softmax: .* already",
            ),
            (
                Overrides(overrides.labels, overrides.preprocess, multi_label=True),
                "--multi-label: .*softmax",
            ),
            (
                Overrides(overrides.labels, overrides.preprocess, threshold=0.5),
                "--threshold: .*--multi-label",
            ),
        ):
            with pytest.raises(ConversionError, match=cause):
                convert(ConvertOptions(export, tmp_path / "out", given))
        assert not (tmp_path / "out").exists()

    def test_a_bundle_without_its_data_file(
        self, export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
    ) -> None:
        write_onnx(export / "net.onnx", external=True)
        bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
        (bundle.server_dir / "net.onnx.data").unlink()
        with pytest.raises(BundleError, match=r"net\.onnx\.data is missing from the bundle"):
            load_bundle(bundle.path)


def test_fractions_for_a_feed_of_bytes(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    """A model of Keras: bytes in, pixel by pixel; at conversion, and of an edited bundle."""
    weights = write_onnx(export / "net.onnx", feed_type="UINT8", pixels=True)
    (tmp_path / "ops.yml").write_text(OPS.replace("- ToCHWImage:\n", ""))
    with pytest.raises(ConversionError, match=r"takes whole numbers from 0 to 255 \(uint8\)"):
        convert(ConvertOptions(export, tmp_path / "out", overrides))
    (tmp_path / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n")
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    (answer,) = answers(bundle.path, image(200, 3, 77))
    expected = softmax(np.array([200, 3, 77]) @ weights["fc.w"] + weights["fc.b"])
    assert max(answer.values()) == pytest.approx(expected.max())
    description = bundle.server_dir / "inference.yml"
    resize = "  - ResizeImage:\n      size:\n      - 8\n      - 8\n"
    assert resize in description.read_text()
    description.write_text(
        description.read_text().replace(resize, resize + "  - NormalizeImage: {order: ''}\n")
    )
    settings = ClassifierSettings(model_dir=str(bundle.path)).to_json()
    with pytest.raises(
        PredictorError, match=r"inference.yml: preprocessing gives fractions .*uint8"
    ):
        build_classifier(settings)
    served = inspect_folder(bundle.path)["served_by"]["ONNX Runtime"]
    assert served["note"].startswith("preprocessing gives fractions from -2.118 to 2.64")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("Mul", [1 / 255], True),
        ("Mul", [1 / 127.5], True),
        ("Mul", [0.0171, 0.0175, 0.0174], True),
        ("Div", [255.0], True),
        ("Sub", [123.68, 116.78, 103.94], True),
        ("Add", [-127.5], True),
        ("Mul", [1 / 0.229, 1 / 0.224, 1 / 0.225], False),
        ("Div", [0.229, 0.224, 0.225], False),
        ("Sub", [0.485, 0.456, 0.406], False),
        ("Add", [1.0], False),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_graphs_that_scale_pixels_themselves(
    export: Path,
    tmp_path: Path,
    overrides: Overrides,
    write_onnx: WriteOnnx,
    kind: str,
    value: list[float],
    expected: bool,
    constant: bool,
) -> None:
    """As networks of keras.applications begin; with a preset they would be normalised twice."""
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx", feed_type="FLOAT16")  # which casts first
    model = onnx.load(str(export / "net.onnx"))
    tensor = onnx.numpy_helper.from_array(np.float32(value).reshape(-1, 1, 1), "by")
    if constant:
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["by"], value=tensor))
    else:
        model.graph.initializer.append(tensor)
    for node in model.graph.node:
        node.input[:] = ["scaled" if name == "floats" else name for name in node.input]
    place = [node.op_type for node in model.graph.node].index("Cast") + 1
    model.graph.node.insert(place, onnx.helper.make_node(kind, ["floats", "by"], ["scaled"]))
    onnx.save(model, str(export / "net.onnx"))
    assert (read_export(export).graph.white == 255) is expected
    warnings: list[str] = []
    convert(ConvertOptions(export, tmp_path / "out", overrides), warn=warnings.append)
    assert any("normalised twice?" in warning for warning in warnings) is expected
    (tmp_path / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
    warnings.clear()
    convert(ConvertOptions(export, tmp_path / "out", overrides, force=True), warn=warnings.append)
    assert not any("normalised twice?" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("Sub", [0.485, 0.456, 0.406]), ("Div", [0.229, 0.224, 0.225])], True),
        ([("Sub", [0.5]), ("Mul", [2.0])], True),
        ([("Mul", [2.0]), ("Add", [-1.0])], True),
        ([("Mul", [4.37, 4.46, 4.44]), ("Sub", [2.12, 2.04, 1.8])], True),
        # torchvision's transform_input takes normalised numbers and normalises them otherwise
        ([("Mul", [0.458, 0.448, 0.45]), ("Add", [-0.03, -0.088, -0.188])], False),
        ([("Sub", [0.485, 0.456, 0.406])], False),
        ([("Div", [0.25])], False),
        ([("Mul", [0.0])], False),
    ],
)
def test_graphs_that_normalise_numbers_from_0_to_1_themselves(
    export: Path,
    tmp_path: Path,
    overrides: Overrides,
    write_onnx: WriteOnnx,
    steps: list[tuple[str, list[float]]],
    expected: bool,
) -> None:
    """The normalisation of the training stands in the graph, and a preset does it once more."""
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx", feed_type="FLOAT16")
    model = onnx.load(str(export / "net.onnx"))
    place = [node.op_type for node in model.graph.node].index("Cast") + 1
    for node in model.graph.node:
        node.input[:] = [f"step{len(steps)}" if name == "floats" else name for name in node.input]
    before = "floats"
    for number, (kind, value) in enumerate(steps, 1):
        tensor = np.float32(value).reshape(-1, 1, 1)
        model.graph.initializer.append(onnx.numpy_helper.from_array(tensor, f"by{number}"))
        node = onnx.helper.make_node(kind, [before, f"by{number}"], [f"step{number}"])
        model.graph.node.insert(place + number - 1, node)
        before = f"step{number}"
    onnx.save(model, str(export / "net.onnx"))
    assert (inspect_folder(export)["white"] == 1) is expected
    warnings: list[str] = []
    convert(ConvertOptions(export, tmp_path / "out", overrides), warn=warnings.append)
    assert any("mean=0,std=1" in warning for warning in warnings) is expected
    (tmp_path / "ops.yml").write_text(
        "- ResizeImage: {size: [8, 8]}\n"
        "- NormalizeImage: {mean: 0, std: 1, order: ''}\n- ToCHWImage:\n"
    )
    warnings.clear()
    convert(ConvertOptions(export, tmp_path / "out", overrides, force=True), warn=warnings.append)
    assert not warnings


def test_metadata_that_says_how_pixels_are_fed(
    export: Path, tmp_path: Path, overrides: Overrides, write_onnx: WriteOnnx
) -> None:
    """Custom Vision writes that its models take BGR from 0 to 255."""
    onnx = pytest.importorskip("onnx")
    write_onnx(export / "net.onnx")
    model = onnx.load(str(export / "net.onnx"))
    said = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, str(export / "net.onnx"))
    warnings: list[str] = []
    convert(ConvertOptions(export, tmp_path / "out", overrides), warn=warnings.append)
    assert any("pixels from 0 to 255" in warning for warning in warnings)
    assert any("to_rgb: False" in warning for warning in warnings)
    (tmp_path / "ops.yml").write_text(
        "- DecodeImage: {to_rgb: False}\n- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n"
    )
    warnings.clear()
    convert(ConvertOptions(export, tmp_path / "out", overrides, force=True), warn=warnings.append)
    assert not warnings
