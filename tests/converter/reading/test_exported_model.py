"""Exports are recognised, and what is wrong with one is said in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle.formats import FLUID, ONNX, PDMODEL, PIR
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.inspection import inspect_folder
from converter.errors import ConversionError
from converter.reading.content import format_by_content
from converter.reading.exported_model import read_export
from converter.reading.graph_file import check_graph_file

MakeExport = Callable[..., Path]


def test_a_graph_of_a_newer_format(make_export: MakeExport) -> None:
    export = make_export("pir")
    text = (export / "inference.json").read_text()
    (export / "inference.json").write_text(text.replace('"version": 1', '"version": 99'))
    with pytest.raises(ConversionError, match=r"PIR format 99, .* up to 4; export it with"):
        read_export(export)


def test_a_format_that_is_no_number(make_export: MakeExport) -> None:
    export = make_export("pir")
    text = (export / "inference.json").read_text()
    (export / "inference.json").write_text(text.replace('"version": 1', '"version": "5"'))
    with pytest.raises(ConversionError, match="its PIR format is '5' and no number; export the"):
        read_export(export)


@pytest.mark.parametrize("name", ["inference.json", "inference.pdmodel", "__model__", "net.onnx"])
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is no graph: it is empty; copy or export it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "`git lfs pull` fetches"),
        (b"<!DOCTYPE html><html></html>", "is no graph: it is a web page; copy"),
    ],
)
def test_what_lies_in_place_of_a_graph(
    tmp_path: Path, name: str, content: bytes, cause: str
) -> None:
    if name.endswith(".onnx"):
        pytest.importorskip("onnx", reason="needs the extra onnx")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=cause):
        read_export(tmp_path)


def test_a_graph_that_may_not_be_read(tmp_path: Path) -> None:
    # a folder cannot be read by root either, who may run this test
    with pytest.raises(ConversionError, match=r"cannot be read \(Is a directory\); copy it to"):
        check_graph_file(tmp_path)


def test_two_models_in_one_folder_are_listed(make_export: MakeExport) -> None:
    export = make_export("pdmodel")
    other = make_export("pir") / "inference.json"
    (export / "inference.json").write_bytes(other.read_bytes())
    with pytest.raises(ConversionError, match=r"inference\.json, inference\.pdmodel.*--model-file"):
        read_export(export)
    assert read_export(export, model_file="inference.json").graph_format is PIR


def test_what_only_looks_like_a_model(make_export: MakeExport) -> None:
    export = make_export("pir")
    (export / "old.pdmodel").mkdir()
    (export / "deep.json").write_text("[" * 100_000)
    assert read_export(export).model_file.name == "inference.json"
    (export / "inference.json").write_text("[" * 100_000)
    with pytest.raises(ConversionError, match=r"inference\.json: is not JSON"):
        read_export(export)


def test_other_json_files_are_no_models(make_export: MakeExport) -> None:
    export = make_export("pir")
    (export / "config.json").write_text('{"model_name": "tiny"}')
    (export / "notes.json").write_text("not json at all")
    assert read_export(export).model_file.name == "inference.json"


def test_files_with_other_names(make_export: MakeExport) -> None:
    export = make_export("pdmodel")
    (export / "inference.pdmodel").rename(export / "model")
    (export / "inference.pdiparams").rename(export / "weights")
    found = read_export(export, model_file="model", params_file="weights")
    assert (found.graph_format, found.params_file) == (FLUID, export / "weights")
    assert read_export(export) == found
    with pytest.raises(ConversionError, match=r"nothing: no such file; --model-file"):
        read_export(export, model_file="nothing")


@pytest.mark.parametrize(
    ("layout", "graph", "params"),
    [
        ("fluid", "__model__", "__params__"),
        ("pdmodel", "inference.pdmodel", "inference.pdiparams"),
        ("pir", "inference.json", "inference.pdiparams"),
    ],
)
@pytest.mark.parametrize(
    ("names"),
    [
        ("model", "params"),
        ("model.pdmodel", "weights"),
        ("net_v2.json", "net_v2.bin"),
        ("__model__.bak", "b.params"),
        ("旧模型", "参数"),
    ],
)
def test_graphs_and_parameters_are_found_by_what_they_hold(
    make_export: MakeExport, layout: str, graph: str, params: str, names: tuple[str, str]
) -> None:
    export = make_export(layout)
    usual = read_export(export)
    (export / graph).rename(export / names[0])
    (export / params).rename(export / names[1])
    (export / "notes.txt").write_text('{"pir": "a note"}')
    (export / "cover.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (export / "best.pth").write_bytes(b"PK\x03\x04" + bytes(200))
    found = read_export(export)
    assert (found.model_file, found.params_file) == (export / names[0], export / names[1])
    assert found.graph == usual.graph
    program = {FLUID, PDMODEL}
    assert (
        found.graph_format is usual.graph_format
        or {found.graph_format} | {usual.graph_format} <= program
    )
    bundle = convert(ConvertOptions(export, export.parent / "out"))
    assert bundle.model_file.read_bytes() == (export / names[0]).read_bytes()
    assert inspect_folder(bundle.path)["served_by"]["Paddle 3.x"]["serves"]


def test_a_renamed_graph_with_a_file_a_parameter(make_export: MakeExport) -> None:
    export = make_export("separate")
    (export / "__model__").rename(export / "model")
    found = read_export(export)
    assert (found.graph_format, found.model_file) == (FLUID, export / "model")
    assert [path.name for path in found.separate_params] == ["fc.b_0", "fc.w_0"]


@pytest.mark.parametrize("name", ["model", "net.pb", "__model__", "inference.pdmodel"])
@pytest.mark.parametrize("external", [False, True])
def test_an_onnx_graph_under_any_name(
    tmp_path: Path, write_onnx: Callable[..., object], name: str, external: bool
) -> None:
    write_onnx(tmp_path / "net.onnx", external=external)
    (tmp_path / "net.onnx").rename(tmp_path / name)
    for found in read_export(tmp_path), read_export(tmp_path, model_file=name):
        assert (found.graph_format, found.model_file) == (ONNX, tmp_path / name)


def test_graphs_of_other_names_are_listed(make_export: MakeExport) -> None:
    export = make_export("pdmodel")
    (export / "inference.pdmodel").rename(export / "first")
    (export / "second").write_bytes((export / "first").read_bytes())
    with pytest.raises(ConversionError, match=r"2 models \(first, second\); .* --model-file"):
        read_export(export)
    assert read_export(export, model_file="second").model_file.name == "second"


def test_a_renamed_graph_that_is_cut_off(make_export: MakeExport) -> None:
    export = make_export("pdmodel")
    content = (export / "inference.pdmodel").read_bytes()
    (export / "inference.pdmodel").unlink()
    (export / "model").write_bytes(content[:-20])
    with pytest.raises(ConversionError, match="model: is no Paddle graph, or is cut off"):
        read_export(export)


def test_a_renamed_graph_further_down_is_found(make_export: MakeExport) -> None:
    export = make_export("pdmodel")
    (export / "inference.pdmodel").rename(export / "model")
    with pytest.raises(ConversionError, match=f"did you mean its folder {export.name}"):
        read_export(export.parent)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"\x08\x07",
        b"\x0a\x02\x08\x01",  # a block that is not the first
        b"\x0a\x04\x0a\x02ab",  # a GraphDef of TensorFlow begins so
        b"\x08\x01\x12\x02\x08\x00",  # a SavedModel
        b"\xff" * 600,
        b"{" + b" " * 600,
        bytes(600),
    ],
)
def test_other_files_are_no_graphs(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert format_by_content(tmp_path / "file") is None


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    """A model of 200 GB, most of it a hole in the file system."""
    weights = 200 * 10**9
    head = b"\x08\x08\x12\x04test\x3a" + _varint(weights)
    with (tmp_path / "model").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + weights)
    assert format_by_content(tmp_path / "model") is ONNX


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize(
    ("layout", "params", "names"),
    [
        ("fluid", "__params__", ("model.data", "weights.bin")),
        ("fluid", "__params__", ("a.pdiparams", "b.pdiparams")),
        ("pdmodel", "inference.pdiparams", ("a.pdiparams", "b.pdiparams")),
        ("pir", "inference.pdiparams", ("model.data", "weights.bin")),
    ],
)
def test_the_file_that_holds_the_parameters_is_found_among_others(
    make_export: MakeExport,
    layout: str,
    params: str,
    names: tuple[str, str],
    tensor_record: Callable[..., bytes],
) -> None:
    export = make_export(layout)
    right, foreign = names[::-1]
    (export / params).rename(export / right)
    for content in (b"of something else", tensor_record(np.zeros(3)), b""):
        (export / foreign).write_bytes(content)
        assert read_export(export).params_file == export / right
    # two that hold them: both may be meant
    (export / foreign).write_bytes((export / right).read_bytes())
    cause = rf"2 files may hold the parameters \({names[0]}, {names[1]}\); .* --params-file"
    with pytest.raises(ConversionError, match=cause):
        read_export(export)
    assert read_export(export, params_file=right).params_file == export / right
    # none that holds them: all may be meant
    for name in names:
        (export / name).write_bytes(b"of something else")
    for number in range(9):
        (export / f"photo{number}{(export / right).suffix}").write_bytes(b"")
    with pytest.raises(ConversionError, match=r"11 files may hold .* and 6 more\)"):
        read_export(export)


@pytest.mark.parametrize(
    ("layout", "params"),
    [("fluid", "__params__"), ("pdmodel", "inference.pdiparams"), ("pir", "inference.pdiparams")],
)
@pytest.mark.parametrize("name", ["weights", "model.params.bin", "other.pdiparams"])
def test_the_only_other_file_holds_the_parameters(
    make_export: MakeExport, layout: str, params: str, name: str
) -> None:
    export = make_export(layout)
    (export / params).rename(export / name)
    for beside in ("README.md", "inference.pdiparams.info", ".DS_Store"):
        (export / beside).write_text("mine")
    (export / "labels.txt").write_text("a\nb\nc\n")
    assert read_export(export).params_file == export / name
    # two of them: both may be meant
    (export / "another").write_bytes((export / name).read_bytes())
    if not name.endswith(".pdiparams"):
        with pytest.raises(ConversionError, match="is missing, and 2 files"):
            read_export(export)


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ([], "no exported model"),
        (["model.onnx"], "model.onnx: is no graph: it is empty"),
        (["best.pdparams"], "checkpoint"),
        (["inner/inference.json"], "its folder inner"),
        (["serving_server/__model__"], "a bundle already"),
    ],
)
def test_a_folder_without_a_model_says_what_it_is(
    tmp_path: Path, files: list[str], cause: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ConversionError, match=cause):
        read_export(tmp_path)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no such folder"):
        read_export(tmp_path / "nothing")


class TestGraph:
    @pytest.mark.parametrize(
        "content", ["", "{", '{"a": 1}', "[]", '{"base_code": {"magic": "x"}}']
    )
    def test_a_damaged_pir_graph(self, make_export: MakeExport, content: str) -> None:
        export = make_export("pir")
        (export / "inference.json").write_text(content)
        with pytest.raises(ConversionError, match=r"inference\.json|no exported model"):
            read_export(export)

    def test_a_truncated_pir_graph(self, make_export: MakeExport) -> None:
        graph = make_export("pir") / "inference.json"
        graph.write_bytes(graph.read_bytes()[:-100])
        with pytest.raises(ConversionError, match=r"inference\.json: .*cut off"):
            read_export(graph.parent)

    def test_a_truncated_program(self, make_export: MakeExport) -> None:
        graph = make_export("pdmodel") / "inference.pdmodel"
        graph.write_bytes(graph.read_bytes()[:-3])
        with pytest.raises(ConversionError, match=r"inference\.pdmodel: .*cut off"):
            read_export(graph.parent)

    def test_a_name_that_is_no_text(self, make_export: MakeExport) -> None:
        export = make_export("pdmodel")
        content = (export / "inference.pdmodel").read_bytes()
        (export / "inference.pdmodel").write_bytes(content.replace(b"fc.w_0", b"fc\xff\xfe_0"))
        with pytest.raises(ConversionError, match="a name in it is no text"):
            read_export(export)

    @pytest.mark.parametrize("content", [b"", b"\x0a\x00", b"hello, world"])
    def test_what_is_no_program(self, make_export: MakeExport, content: bytes) -> None:
        graph = make_export("pdmodel") / "inference.pdmodel"
        graph.write_bytes(content)
        with pytest.raises(ConversionError, match=r"inference\.pdmodel: "):
            read_export(graph.parent)


class TestParameters:
    """A parameter file that does not belong to the graph is found before anything is written."""

    def test_missing(self, make_export: MakeExport) -> None:
        export = make_export("pir")
        (export / "inference.pdiparams").unlink()
        with pytest.raises(ConversionError, match=r"inference\.pdiparams: .* missing"):
            read_export(export)

    def test_empty(self, make_export: MakeExport) -> None:
        export = make_export("pir")
        (export / "inference.pdiparams").write_bytes(b"")
        with pytest.raises(ConversionError, match="is empty"):
            read_export(export)

    @pytest.mark.parametrize("layout", ["pir", "pdmodel", "fluid"])
    def test_truncated_anywhere(self, make_export: MakeExport, layout: str) -> None:
        export = make_export(layout)
        params = read_export(export).params_file
        assert params is not None
        content = params.read_bytes()
        for size in range(1, len(content)):
            params.write_bytes(content[:size])
            with pytest.raises(ConversionError, match=r"truncated|cut off") as error:
                read_export(export)
            assert str(params) in str(error.value)

    def test_too_long(self, make_export: MakeExport) -> None:
        params = make_export("pir") / "inference.pdiparams"
        params.write_bytes(params.read_bytes() + b"\0")
        with pytest.raises(ConversionError, match="1 bytes more"):
            read_export(params.parent)

    def test_of_another_model(
        self, make_export: MakeExport, tensor_record: Callable[..., bytes]
    ) -> None:
        params = make_export("pir") / "inference.pdiparams"
        params.write_bytes(tensor_record(np.zeros(5)) + tensor_record(np.zeros((48, 5))))
        with pytest.raises(
            ConversionError, match=r"another model: .* 'fc\.b_0', is \[3\] .* \[5\] in the file"
        ):
            read_export(params.parent)

    def test_in_the_wrong_order(
        self, make_export: MakeExport, tensor_record: Callable[..., bytes]
    ) -> None:
        params = make_export("pir") / "inference.pdiparams"
        params.write_bytes(tensor_record(np.zeros((48, 3))) + tensor_record(np.zeros(3)))
        with pytest.raises(ConversionError, match="another model"):
            read_export(params.parent)

    @pytest.mark.parametrize("content", [b"PK\x03\x04" * 100, b"\x89PNG\r\n\x1a\n" * 50, b"a"])
    def test_of_another_kind(self, make_export: MakeExport, content: bytes) -> None:
        params = make_export("pir") / "inference.pdiparams"
        params.write_bytes(content)
        with pytest.raises(ConversionError, match="no Paddle parameter file"):
            read_export(params.parent)

    def test_sequence_levels_are_skipped(
        self, make_export: MakeExport, tensor_record: Callable[..., bytes]
    ) -> None:
        params = make_export("pir") / "inference.pdiparams"
        bias = tensor_record(np.zeros(3), [b"\0" * 16])
        params.write_bytes(bias + tensor_record(np.zeros((48, 3))))
        read_export(params.parent)

    def test_one_of_the_separate_files_is_missing(self, make_export: MakeExport) -> None:
        export = make_export("separate")
        (export / "fc.b_0").unlink()
        with pytest.raises(ConversionError, match=r"1 of 2 .*\(fc\.b_0\)"):
            read_export(export)

    def test_one_of_the_separate_files_is_truncated(self, make_export: MakeExport) -> None:
        file = make_export("separate") / "fc.w_0"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(ConversionError, match=r"fc\.w_0: is truncated"):
            read_export(file.parent)

    def test_two_of_the_separate_files_are_swapped(self, make_export: MakeExport) -> None:
        export = make_export("separate")
        (export / "fc.w_0").rename(export / "spare")
        (export / "fc.b_0").rename(export / "fc.w_0")
        (export / "spare").rename(export / "fc.b_0")
        with pytest.raises(ConversionError, match="another model"):
            read_export(export)

    def test_a_parameter_outside_the_folder(
        self, tmp_path: Path, program_bytes: Callable[..., bytes]
    ) -> None:
        (tmp_path / "export").mkdir()
        (tmp_path / "export/__model__").write_bytes(program_bytes({"../secret": (3,)}))
        (tmp_path / "secret").write_bytes(b"")
        with pytest.raises(ConversionError, match="outside"):
            read_export(tmp_path / "export")


def test_a_file_in_place_of_its_folder(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pir")
    with pytest.raises(ConversionError, match=r"inference\.json: is a file; give the folder"):
        read_export(export / "inference.json")
    checkpoint = tmp_path / "best_model.pdparams"
    checkpoint.write_bytes(b"\x80\x02")
    with pytest.raises(ConversionError, match=r"pdparams: is a training checkpoint; export it"):
        read_export(checkpoint)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("best_model.pdparams", "is a training checkpoint; export it for inference first"),
        ("PPLCNetV2_base/best_model.pdparams", "is a training checkpoint"),
        ("runs/mine/epoch_7.pdparams", "is a training checkpoint"),
        ("net.pth", "is a PyTorch checkpoint; export it with torch.onnx.export first"),
        ("net.keras", "is a model of Keras; turn it into ONNX with tf2onnx first"),
        ("saved_model.pb", "is a SavedModel of TensorFlow; turn it into ONNX with tf2onnx first"),
    ],
)
def test_what_training_leaves_is_no_export(tmp_path: Path, name: str, cause: str) -> None:
    file = tmp_path / "output" / name
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(ConversionError) as caught:
        read_export(tmp_path / "output")
    assert f"holds no exported model; {name} {cause}" in str(caught.value)


def test_a_model_further_down_is_found(make_export: MakeExport) -> None:
    export = make_export("pir")
    for above in export.parent, export.parent.parent:
        meant = export.relative_to(above)
        with pytest.raises(ConversionError, match=f"did you mean its folder {meant}\\?"):
            read_export(above)


def test_several_models_further_down_are_all_named(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pir")
    for name in "abcdefg":
        shutil.copytree(export, tmp_path / "many" / name)
    with pytest.raises(ConversionError) as caught:
        read_export(tmp_path / "many")
    expected = "holds no model itself; these folders in it do: a, b, c, d, e and 2 more; give one"
    assert expected in str(caught.value)


def test_the_clients_half_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "serving_client").mkdir()
    with pytest.raises(ConversionError, match="the model lies in serving_server beside it"):
        read_export(tmp_path / "serving_client")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>not found</html>", "it is a web page"),
        (b"\x80\x02}q\x00(X\x0b\x00\x00\x00conv", "it is a pickle, as training checkpoints are"),
    ],
)
def test_a_download_that_went_wrong(make_export: MakeExport, content: bytes, cause: str) -> None:
    export = make_export("pir")
    (export / "inference.pdiparams").write_bytes(content)
    with pytest.raises(ConversionError, match=f"is no Paddle parameter file .*{cause}"):
        read_export(export)
