"""Feeds and fetches of every kind: several, sequences, open dimensions, all of 0.9's types."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundle import load_bundle
from bundle.model_config import DTYPE_CODES
from bundle.parameter_file import DTYPES
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert, preview
from converter.checking.inspection import inspect_folder
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from converter.reading.program_graph import MESSAGES
from pipeline.predictors import PredictorError, create_predictor

MakeExport = Callable[..., Path]

# Every type that a feed of 0.9 has, but strings, which are no tensors.
CODES = {name: code for code, name in DTYPES.items() if name in DTYPE_CODES}


def write_program(
    folder: Path,
    feeds: dict[str, tuple[str, tuple[int, ...], int]],
    fetches: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    """A ProgramDesc without parameters: name -> type, shape, LoD levels."""
    desc = MESSAGES["ProgramDesc"]()
    block = desc.blocks.add(idx=0)
    tensors = {**feeds, **{name: (*facts, 0) for name, facts in fetches.items()}}
    for name, (dtype, shape, levels) in tensors.items():
        var = block.vars.add(name=name)
        var.type.type = 7
        var.type.lod_tensor.lod_level = levels
        var.type.lod_tensor.tensor.data_type = CODES[dtype]
        var.type.lod_tensor.tensor.dims.extend(shape)
    for kind, side, names in (("feed", "outputs", feeds), ("fetch", "inputs", fetches)):
        # written backwards: the column counts, not the place
        for column, name in reversed(list(enumerate(names))):
            op = block.ops.add(type=kind)
            getattr(op, side).add(parameter="Out" if kind == "feed" else "X", arguments=[name])
            op.attrs.add(name="col", i=column)
    folder.mkdir()
    (folder / "inference.pdmodel").write_bytes(desc.SerializeToString())
    (folder / "inference.pdiparams").write_bytes(b"")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder for write_program."""
    return tmp_path / "export"


def test_all_types_and_shapes(export: Path) -> None:
    feeds: dict[str, tuple[str, tuple[int, ...], int]] = {
        f"in_{dtype}": (dtype, (-1, 3, -1, 224), 0) for dtype in CODES
    }
    feeds["words"] = ("int64", (-1, 1), 1)
    write_program(export, feeds, {"ids": ("int64", (-1,)), "scores": ("float32", (-1, 7))})
    config = preview(export)
    assert [feed.name for feed in config.feeds] == list(feeds)
    assert {feed.dtype for feed in config.feeds} == set(CODES)
    for feed in config.feeds[:-1]:
        assert (feed.alias, feed.shape, feed.is_lod) == (feed.name, (3, -1, 224), False)
    assert (config.feeds[-1].is_lod, config.feeds[-1].shape) == (True, (-1,))
    # the output that can hold scores is called prediction
    fetches = [(fetch.alias, fetch.shape) for fetch in config.fetches]
    assert fetches == [("ids", ()), ("prediction", (7,))]
    assert config.classes == 7


def test_the_output_with_a_class_a_label_answers(export: Path, tmp_path: Path) -> None:
    write_program(
        export,
        {"x": ("float32", (-1, 3, 8, 8), 0)},
        {"features": ("float32", (-1, 512)), "fc": ("float32", (-1, 3)), "id": ("int64", (-1,))},
    )
    cause = (
        r"2 outputs may hold the scores: 'features' \(float32 \[N, 512\]\), 'fc' .*"
        r"--fetch-alias prediction,fc,id$"
    )
    with pytest.raises(ConversionError, match=cause):
        preview(export)
    named = preview(export, fetch_aliases=("features", "prediction", "id"))
    assert (named.answering, named.classes) == (1, 3)
    ops, labels = tmp_path / "ops.yml", tmp_path / "labels.txt"
    ops.write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
    labels.write_text("a\nb\n")
    overrides = Overrides(labels, str(ops), logits=True)
    with pytest.raises(ConversionError, match="2 outputs may hold the scores"):
        convert(ConvertOptions(export, tmp_path / "out", overrides))
    labels.write_text("a\nb\nc\n")
    bundle = convert(ConvertOptions(export, tmp_path / "out", overrides))
    aliases = [fetch.alias for fetch in bundle.model_config.fetches]
    assert aliases == ["features", "prediction", "id"]
    # labels beside the model decide it too
    (export / "labels.txt").write_text("a\nb\nc\n")
    assert preview(export) == bundle.model_config
    labels.write_text("a\nb\n")
    options = ConvertOptions(
        export, tmp_path / "two", overrides, fetch_aliases=("features", "prediction", "id")
    )
    with pytest.raises(ConversionError, match=r"too few .* output 'fc': .*--fetch-alias calls it"):
        convert(options)


def test_an_export_whose_outputs_are_undecided_can_be_inspected(export: Path) -> None:
    write_program(
        export,
        {"x": ("float32", (-1, 3, 8, 8), 0)},
        {"features": ("float32", (-1, 512)), "fc": ("float32", (-1, 3))},
    )
    facts = inspect_folder(export)
    assert "2 outputs may hold the scores" in facts["output_error"]
    assert facts["output_activation"] is None
    assert [fetch["alias"] for fetch in facts["fetches"]] == ["features", "fc"]
    assert not any(answer["serves"] for answer in facts["served_by"].values())


def test_class_numbers_are_no_scores(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_program(export, {"x": ("float32", (-1, 3, 8, 8), 0)}, {"argmax": ("int64", (-1,))})
    output = tmp_path / "out"
    for more in ["--output", str(output)], ["--show-proto"]:
        assert main(["convert", str(export), *more]) == 1
        message = capsys.readouterr().err
        assert "gives 'argmax' (int64 [N]) and no scores" in message
        assert "Export the model with the softmax or the logits" in message
    assert not output.exists()
    assert main(["inspect", str(export)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "and no scores" in shown
    assert "--softmax" not in shown
    assert "Paddle 3.x no: its output 'argmax' is int64, and scores are float32" in shown


def test_class_numbers_called_prediction(export: Path) -> None:
    write_program(
        export,
        {"x": ("float32", (-1, 3, 8, 8), 0)},
        {"prediction": ("int64", (-1,)), "scores": ("float32", (-1, 3))},
    )
    with pytest.raises(ConversionError, match=r"is int64 .*--fetch-alias other,prediction"):
        preview(export)


def test_show_proto_prints_and_writes_nothing(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export("pir", description=None)
    before = sorted(tmp_path.rglob("*"))
    arguments = ["convert", str(export), "--show-proto", "--feed-alias", "image"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert 'name: "x"\n  alias_name: "image"' in shown
    assert 'name: "fetch_name_0"\n  alias_name: "prediction"' in shown
    assert "feed_type: 1\n  shape: 3\n  shape: 4\n  shape: 4\n" in shown
    assert sorted(tmp_path.rglob("*")) == before


def test_several_feeds_are_no_classifier_of_images(
    tmp_path: Path, write_onnx: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    export = tmp_path / "export"
    export.mkdir()
    write_onnx(export / "net.onnx")
    (export / "labels.txt").write_text("a\nb\nc\n")
    (export / "inference.yml").write_text(
        "PreProcess: {transform_ops: [ResizeImage: {size: [8, 8]}, ToCHWImage: null]}\n"
    )
    bundle = convert(ConvertOptions(export, tmp_path / "before"))
    model = onnx.load(str(export / "net.onnx"))
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("scale_factor", onnx.TensorProto.FLOAT, ["N", 2])
    )
    onnx.save(model, str(export / "net.onnx"))
    note = "has 2 inputs (x, scale_factor); images are fed to one"
    served = inspect_folder(export)["served_by"]["ONNX Runtime"]
    assert served == {"serves": False, "note": note}
    assert main(["convert", str(export), "--no-onnx", "--output", str(tmp_path / "out")]) == 1
    assert f"nothing can serve this model: {note}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    # a bundle that was made before is refused by the runtime
    two = replace(bundle.model_config.feeds[0], name="scale_factor")
    config = replace(bundle.model_config, feeds=(bundle.model_config.feeds[0], two))
    with pytest.raises(PredictorError, match=r"has 2 inputs \(x, scale_factor\)"):
        create_predictor(replace(load_bundle(tmp_path / "before"), model_config=config))


@pytest.mark.parametrize(
    ("feed", "scores", "cause"),
    [
        (
            ("complex64", (-1, 3, 8, 8), 0),
            (-1, 7),
            "'x' takes complex64; images are fed as float32",
        ),
        (("bool", (-1, 3, 8, 8), 0), (-1, 7), "'x' takes bool; images are fed as"),
        (("bfloat16", (-1, 3, 8, 8), 0), (-1, 7), "'x' takes bfloat16; images are fed as"),
        (("int16", (-1, 3, 8, 8), 0), (-1, 7), "'x' takes int16; images are fed as"),
        (("float32", (-1, 3, 8, 8), 1), (-1, 7), "'x' takes sequences (LoD)"),
        (("float32", (-1, 784), 0), (-1, 7), "'x' takes [any, 784], and images are [N, C, H, W]"),
        (
            ("float32", (224, 224, 3), 0),
            (-1, 7),
            "[224, 224, 3], and images are [N, C, H, W] or [N",
        ),
        (
            ("float32", (1, 3, 8, 8), 0),
            (7,),
            "takes 1 images a run, and its output 'scores' is [7]",
        ),
        (("float32", (4, 3, 8, 8), 0), (1, 7), "4 images a run, and its output 'scores' is [1, 7]"),
    ],
)
def test_what_cannot_be_served_is_said_by_inspect_and_refused_by_convert(
    export: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    feed: tuple[str, tuple[int, ...], int],
    scores: tuple[int, ...],
    cause: str,
) -> None:
    write_program(export, {"x": feed}, {"scores": ("float32", scores)})
    (tmp_path / "labels.txt").write_text("\n".join("abcdefg"))
    served = inspect_folder(export)["served_by"]["Paddle 3.x"]
    assert not served["serves"]
    assert cause in served["note"]
    options = ["--preprocess", "imagenet-224", "--labels", str(tmp_path / "labels.txt")]
    assert (
        main(["convert", str(export), "--no-onnx", "--output", str(tmp_path / "out"), *options])
        == 1
    )
    error = capsys.readouterr().err
    assert "nothing can serve this model: " in error
    assert cause in error


def test_aliases_by_number(make_export: MakeExport) -> None:
    export = make_export()
    with pytest.raises(ConversionError, match="--feed-alias: 2 given, the model has 1: x"):
        preview(export, feed_aliases=("a", "b"))
    with pytest.raises(ConversionError, match="--fetch-alias: one is empty"):
        preview(export, fetch_aliases=("",))
    with pytest.raises(ConversionError, match=r"--fetch-alias: '\\udcff' is no name"):
        preview(export, fetch_aliases=("\udcff",))


def test_scores_with_sides_of_one(export: Path) -> None:
    feeds = {"x": ("float32", (-1, 3, 8, 8), 0)}
    write_program(export, feeds, {"scores": ("float32", (-1, 7, 1, 1))})
    assert preview(export).classes == 7


def test_what_wrote_a_graph_is_told(
    make_export: MakeExport, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = {}
    for folder in (make_export("pir"), shared / "models/ch_ppocr_mobile_v2_cls_infer"):
        assert main(["inspect", str(folder), "--json"]) == 0
        message[folder.name] = json.loads(capsys.readouterr().out)["written_by"]
    assert message == {"pir": "format 1", "ch_ppocr_mobile_v2_cls_infer": "Paddle 2.3.2"}


def test_inspect_shows_where_a_bundle_came_from(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", str(make_export("pir")), "--no-onnx", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--topk", "2"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    for expected in ("made from", "pir: inference.json", "topk=2", "paddle-serving-kit", "sha256"):
        assert expected in shown
    assert main(["inspect", str(tmp_path / "out"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["record"]
    assert record["source"]["descriptions"]["inference.yml"]["sha256"]
    assert set(record) == {"made_by", "source", "options", "files"}
