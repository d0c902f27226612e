"""What `split` writes, and what it refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.tools.datasets.calls import (
    Draw,
    refusal,
    split,
)
from tools.datasets.__main__ import main


@pytest.fixture
def data(class_folders: Path) -> Path:
    return class_folders


def test_images_are_hard_links_symlinks_or_copies(data: Path, tmp_path: Path) -> None:
    outs = {flag: tmp_path / (flag or "hard") for flag in ("", "--link", "--copy")}
    for flag, out in outs.items():
        assert split(data, out, *filter(None, [flag])) == 0
    for path in outs[""].glob("train/*/*.png"):
        original = data / path.parent.name / path.name
        copied, linked = (outs[f] / path.relative_to(outs[""]) for f in ("--copy", "--link"))
        assert path.samefile(original)
        assert not path.is_symlink()
        assert linked.is_symlink()
        assert linked.samefile(original)
        assert not copied.samefile(original)
        assert copied.read_bytes() == original.read_bytes()


def test_links_to_links_lead_to_the_image(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert split(data, first, "--link") == 0
    assert split(first / "train", second, "--ratios", "0.5", "0.5") == 0
    assert not any(path.is_symlink() for path in second.glob("*/*/*.png"))
    assert len(list(second.glob("*/*/*.png"))) == 49


def test_the_training_example_takes_what_is_written(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="training needs the extra train")
    from tools.train.images import load_images

    out = tmp_path / "out"
    assert split(data, out, "--form", "folders", "--link") == 0
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "test", "train", "val"]
    images = load_images(out / "train", 16)
    assert images.classes == ("glass", "paper", "trash")
    assert len(images.images) == 49


def test_blanks_are_for_folders_only(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    draw(data / "glass" / "my glass.png", 77)
    text = refusal(capsys, split(data, out))
    assert "my glass.png: the image has a blank in its name" in text
    assert "rename it to my_glass.png" in text
    assert split(data, out, "--form", "folders") == 0
    (data / "glass" / "my glass.png").unlink()
    (data / "glass").rename(data / "玻璃\u3000瓶")  # str.split() cuts at a wide blank too
    capsys.readouterr()
    assert "the folder has a blank in its name" in refusal(capsys, split(data, tmp_path / "b"))


def test_chinese_names_are_written_in_utf8(data: Path, tmp_path: Path) -> None:
    (data / "glass").rename(data / "玻璃")
    assert split(data, tmp_path / "out", "--form", "paddleclas") == 0
    labels = (tmp_path / "out" / "label_list.txt").read_bytes()
    assert labels == "0 paper\n1 trash\n2 玻璃\n".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "glass" / "glass00.png").rename(data / "glass" / os.fsdecode(b"\xb2.png"))
    assert "\\udcb2.png: the image's name is not UTF-8" in refusal(
        capsys, split(data, tmp_path / "out")
    )


def test_an_existing_output_needs_force_and_must_be_ours(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert split(data, out, "--ratios", "0.5", "0.5") == 0
    capsys.readouterr()
    before = sorted(out.rglob("*"))
    assert "give --force" in refusal(capsys, split(data, out))
    assert sorted(out.rglob("*")) == before
    assert split(data, out, "--every", "8", "--force") == 0
    capsys.readouterr()
    assert len(list(out.glob("*/*/*.png"))) == 70
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    assert "not written by this tool" in refusal(capsys, split(data, theirs, "--force"))
    assert (theirs / "thesis.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "theirs"]


def test_nothing_is_left_when_an_image_cannot_be_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "glass" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    text = refusal(capsys, split(data, tmp_path / "out"))
    assert "gone.png: the file is missing, or a link to nothing" in text
    (data / "glass" / "gone.png").unlink()
    os.mkfifo(data / "glass" / "pipe.png")
    assert "it is no ordinary file" in refusal(capsys, split(data, tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ratios", "0.7", "0.2"], "must add up to 1"),
        (["--ratios", "1", "0"], "must add up to 1"),
        (["--ratios", "1.2", "-0.2"], "must add up to 1"),
        (["--ratios", "nan", "0.5"], "must add up to 1"),
        (["--ratios", "0.4", "0.3", "0.2", "0.1"], "two or three numbers"),
        (["--every", "1"], "leaves nothing to train on"),
        (["--every", "8", "--seed", "1"], "leave out --ratios, --seed and"),
        (["--every", "8", "--ratios", "0.5", "0.5"], "leave out --ratios, --seed and"),
        (["--output", "data/out"], "choose another --output"),
        (["--output", "."], "choose another --output"),
        (["--output", "file"], "exists and is no folder"),
        (["--output", "file/out"], "cannot be written"),
    ],
)
def test_what_cannot_be_split_is_reported(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("text")
    assert words in refusal(capsys, split(data, Path("out"), *arguments))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["split", "data"], "required: --output"),
        (["split", "data", "--output", "o", "--copy", "--link"], "not allowed with"),
        (["split", "data", "--output", "o", "--ratios", "x", "y"], "invalid float value"),
        (["split", "data", "--output", "o", "--jobs", "0"], "no whole number from 1 on"),
        (["split", "data", "--output", "o", "--form", "coco"], "invalid choice"),
        (["shuffle"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_call_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert words in refusal(capsys, int(str(stopped.value)))


def test_data_that_are_no_classes_are_reported(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(folder: Path) -> str:
        return refusal(capsys, split(folder, tmp_path / "out"))

    assert "there is no folder" in error_of(tmp_path / "nowhere")
    assert "is a file" in error_of(data / "glass" / "glass00.png")
    assert "its images lie in no class" in error_of(data / "glass")
    (tmp_path / "empty").mkdir()
    assert "it has no folders" in error_of(tmp_path / "empty")
    (tmp_path / "empty" / "class").mkdir()
    assert "holds no images" in error_of(tmp_path / "empty")
    draw(data / "wood" / "one.png", 9001)
    draw(data / "wood" / "two.png", 9002)
    assert "wood has too few images of its own: train, val, test need one each" in error_of(data)
    (data / "wood" / "deeper").mkdir()
    assert "holds the folder 'deeper', which is not read" in error_of(data)
    (data / "wood").rename(tmp_path / "wood")
    (data / "metal").mkdir()
    assert "metal: is a class without images" in error_of(data)
    (data / "metal").rmdir()
    assert split(data, tmp_path / "divided") == 0
    capsys.readouterr()
    assert "is split already (train, val, test)" in error_of(tmp_path / "divided")
