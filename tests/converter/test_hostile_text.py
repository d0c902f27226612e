"""Names and labels of a stranger's model: escapes for terminals, and files of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from converter.__main__ import main
from converter.describing import beside
from converter.errors import ConversionError
from tests.converter.conftest import program

MakeExport = Callable[..., Path]
# A title for the window, a colour, a line that is overwritten, the direction of text, a CSI of one
# character, and rich's own markup.
EVIL = "\x1b]0;owned\x07\x1b[31mred\x1b[2K\rok \u202egnp.exe \x9b31m [/x] [link=file:///x]a[/link]"
UNSAFE = ("\x1b", "\x07", "\r", "\u202e", "\x9b", "\x7f", "\u2066")


def harmless(text: str) -> str:
    assert not [mark for mark in UNSAFE if mark in text]
    return text


@pytest.fixture
def evil_export(make_export: MakeExport) -> Path:
    """A model whose names, labels and description hold all of it."""
    export = make_export()
    document = yaml.safe_load((export / "inference.yml").read_text(encoding="utf-8"))
    document["Global"]["model_name"] = EVIL
    document["PostProcess"]["Topk"]["label_list"] = [EVIL, "b", f"c\nmodel  {EVIL}"]
    (export / "inference.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return export


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, harmless(printed.out), harmless(printed.err)


def test_inspect(evil_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", evil_export)
    assert code == 0
    flat = "".join(out.split())
    assert r"\u001b]0;owned" in flat
    assert "[link=file:///x]a[/link]" in flat  # no markup either


def test_inspect_as_json_keeps_the_text_and_escapes_it(
    evil_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "inspect", evil_export, "--json")
    assert code == 0
    assert json.loads(out)["label_names"][0] == EVIL


def test_convert_and_verify(
    evil_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "convert", evil_export, "--no-onnx", "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "owned" in "".join(out.split())
    assert run(capsys, "inspect", tmp_path / "out")[0] == 0


def test_an_error_with_text_of_a_file(
    evil_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (evil_export / "inference.yml").write_text(
        yaml.safe_dump({"PreProcess": {"transform_ops": [{EVIL: None}]}}), encoding="utf-8"
    )
    code, out, err = run(
        capsys, "convert", evil_export, "--no-onnx", "--output", evil_export.parent / "out"
    )
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_a_warning_with_text_of_a_file(
    evil_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (evil_export / "labels.txt").write_text(
        f"{EVIL.replace(chr(13), '')}\nx\ny\n", encoding="utf-8"
    )
    code, _, err = run(capsys, "convert", evil_export, "--no-onnx", "--output", tmp_path / "out")
    assert code == 0
    assert err.startswith("warning: ")
    assert err.count("\n") == 1


def test_names_in_the_graph_and_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "e\x1b[31m"
    export.mkdir()
    graph = program({}).replace(b"fc.out", b"f\x1b[1mt")
    (export / "inference.pdmodel").write_bytes(graph.replace(b"\x05feed", b"\x05f\x1b[1"))
    for arguments in (("inspect", export), ("convert", export, "--show-proto")):
        assert run(capsys, *arguments)[0] in (0, 1)


SECRETS = "hunter2\nswordfish\nsesame\n"


def deploy(label_file: object) -> str:
    post = {"Topk": {"topk": 1, "class_id_map_file": str(label_file)}}
    numbers = {"scale": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3, "order": ""}
    steps = [{"ResizeImage": {"size": [4, 4]}}, {"NormalizeImage": numbers}, {"ToCHWImage": None}]
    pre = {"transform_ops": steps}
    return yaml.safe_dump({"PreProcess": pre, "PostProcess": post})


@pytest.fixture
def outside(make_export: MakeExport, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a secret, the working folder, and an export in it that has no labels."""
    export = make_export()
    (export / "inference.yml").unlink()
    folder = export.parent
    (folder / ".ssh").mkdir()
    (folder / ".ssh/id").write_text(SECRETS)
    (folder / "secret.txt").write_text(SECRETS)
    monkeypatch.chdir(folder)
    return export


@pytest.mark.parametrize("way", ["absolute", "up", "working folder", "link", "linked folder"])
def test_a_label_file_outside_of_the_export(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    secret = outside.parent / "secret.txt"
    (outside / "link.txt").symlink_to(secret)
    (outside / "folder").symlink_to(outside.parent)
    named = {
        "absolute": str(secret),
        "up": "../secret.txt",
        "working folder": "secret.txt",
        "link": "link.txt",
        "linked folder": "folder/secret.txt",
    }[way]
    (outside / "inference_cls.yaml").write_text(deploy(named))
    code, _, err = run(capsys, "convert", outside, "--no-onnx", "--output", tmp_path / "out")
    assert code == 1
    assert "outside of the export, and callers would get what it holds" in err
    assert "give it with --labels" in err
    assert "hunter2" not in run(capsys, "inspect", outside, "--json")[1]
    code, _, _ = run(
        capsys, "convert", outside, "--no-onnx", "--labels", secret, "--output", tmp_path / "out"
    )
    assert code == 0


def test_a_hidden_file_beside_a_description_that_is_given_by_option(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download in the home directory may not name a key in it."""
    downloaded = outside.parent / "x.yaml"
    downloaded.write_text(deploy(".ssh/id"))
    given = (
        "convert",
        outside,
        "--no-onnx",
        "--preprocess",
        downloaded,
        "--output",
        tmp_path / "out",
    )
    code, _, err = run(capsys, *given)
    assert (code, "outside of the export" in err) == (1, True)
    downloaded.write_text(deploy("secret.txt"))
    assert run(capsys, *given)[::2] == (0, "")


def test_a_label_file_within_the_export(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (outside / "meta").mkdir()
    (outside / "meta/names.txt").write_text("a\nb\nc\n")
    (outside / "inference_cls.yaml").write_text(deploy("./meta/../meta/names.txt"))
    assert run(capsys, "convert", outside, "--no-onnx", "--output", tmp_path / "out")[0] == 0


def test_the_links_of_a_volume_of_kubernetes(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = outside / "..2026_11_30"
    written.mkdir()
    (outside / "..data").symlink_to(written.name)
    (written / "names.txt").write_text("a\nb\nc\n")
    (outside / "names.txt").symlink_to("..data/names.txt")
    (outside / "inference_cls.yaml").write_text(deploy("names.txt"))
    assert run(capsys, "convert", outside, "--no-onnx", "--output", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("kind", ["secret", "device", "pipe"])
def test_a_link_in_place_of_the_label_file(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """A pipe that nobody writes into would be waited for without an end."""
    (outside / "inference_cls.yaml").write_text(deploy("names.txt"))
    if kind == "pipe":
        os.mkfifo(outside / "labels.txt")
    else:
        target = outside.parent / "secret.txt" if kind == "secret" else Path("/dev/zero")
        (outside / "labels.txt").symlink_to(target)
    code, _, err = run(capsys, "convert", outside, "--no-onnx", "--output", tmp_path / "out")
    assert code == 1
    assert "--labels" in err
    assert "hunter2" not in run(capsys, "inspect", outside, "--json")[1]


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_description_without_an_end(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(outside / "inference.yml")
    else:
        (outside / "inference.yml").symlink_to("/dev/zero")
    assert run(capsys, "convert", outside, "--no-onnx", "--output", tmp_path / "out")[0] == 1
    assert run(capsys, "inspect", outside)[0] == 0


def test_steps_without_an_end(make_export: MakeExport, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand resizings of one image took minutes."""
    export = make_export()
    document = yaml.safe_load((export / "inference.yml").read_text(encoding="utf-8"))
    steps = [{"ResizeImage": {"size": [4000, 4000]}}, {"ResizeImage": {"size": [4, 4]}}] * 500
    document["PreProcess"]["transform_ops"][:0] = steps
    (export / "inference.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    code, out, _ = run(capsys, "inspect", export)
    assert code == 0
    assert "transform_ops has 1003 operators, more than 64" in " ".join(out.split())


def test_a_long_value_is_cut_in_reports_and_errors(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    export = make_export()
    document = yaml.safe_load((export / "inference.yml").read_text(encoding="utf-8"))
    document["PreProcess"]["transform_ops"][1]["NormalizeImage"]["mean"] = [0.5] * 50_000
    (export / "inference.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert len(run(capsys, "inspect", export)[1]) < 20_000
    code, _, err = run(capsys, "convert", export, "--no-onnx", "--output", tmp_path / "out")
    assert (code, len(err) < 3000) == (1, True)


def test_files_that_are_looked_into(
    outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder full of YAML no more is read than a bound."""
    read: list[str] = []
    real = beside.load_document
    monkeypatch.setattr(beside, "load_document", lambda path: read.append(path.name) or real(path))
    monkeypatch.setattr(beside, "_LOOKED_INTO", 10_000)
    for number in range(100):
        (outside / f"{number:03}.yml").write_text("a: " + "x" * 1000)
    with pytest.raises(ConversionError, match="holds more than 0 MiB of YAML and JSON files, and"):
        raise ConversionError(beside.unusable_beside(outside)[0])
    assert len(read) == 9
