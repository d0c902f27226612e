"""`check` on list files and their labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.datasets.calls import (
    checked,
    kinds,
    noise,
    save,
)
from tools.datasets.__main__ import main


@pytest.fixture
def data(listed_dataset: Path) -> Path:
    return listed_dataset


def test_lists_are_read_with_their_labels(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = checked(capsys, *sorted(data.glob("*.txt")), expected=0)
    assert [one["name"] for one in report["classes"]] == ["bottle", "can"]
    assert report["classes"][0]["splits"] == {"train": 6, "val": 2}
    (data / "label_list.txt").rename(data.parent / "classes.txt")
    report = checked(capsys, data / "train_list.txt", expected=0)
    assert [one["name"] for one in report["classes"]] == ["0", "1"]
    report = checked(
        capsys, data / "train_list.txt", "--labels", data.parent / "classes.txt", expected=0
    )
    assert [one["name"] for one in report["classes"]] == ["bottle", "can"]


def test_paths_begin_at_the_root(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = data.parent / "lists" / "train_list.txt"
    moved.parent.mkdir()
    (data / "train_list.txt").rename(moved)
    report = checked(capsys, moved, expected=1)
    assert kinds(report) == ["missing file"]
    assert report["findings"][0]["lines"] == list(range(1, 13))
    assert "give the folder with --root" in report["findings"][0]["text"]
    checked(capsys, moved, "--root", data, expected=0)


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("train\\can\\0.png 1", "backslash", "write / instead"),
        ("train/can/0.png\t1", "tab", "put one blank there"),
        ("train/can/0.png  1", "blanks", "put one blank there"),
        ("train/can/0.png\u30001", "blanks", "put one blank there"),
        ("train/can/a b.png 1", "blank in path", "rename the file"),
        ("train/can/0.png", "no class number", "write it so"),
        ("train/can/0.png one", "no class number", "write it so"),
        ("train/can/0.png 1.0", "no class number", "write it so"),
        ("train/can/0.png 2", "class number out of range", "the 2 labels have 0 to 1"),
        ("train/can/0.png -1", "class number out of range", "the 2 labels have 0 to 1"),
        ("train/can/0.png 0", "number of another class", "its number 0 is the label bottle"),
        ("train/can/gone.png 1", "missing file", "correct the path"),
        ("train/can/1.png 1", "listed twice", "remove the line"),
        ("train/can/1.png 0", "two classes", "class 0 here and 1 in line 8"),
        ("", "blank line", "remove it"),
    ],
)
def test_faults_of_a_line_are_reported_by_its_number(
    data: Path, capsys: pytest.CaptureFixture[str], line: str, kind: str, words: str
) -> None:
    save(data / "train" / "can" / "a b.png", noise(77))
    path = data / "train_list.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[6] = lines[6] if "1.png" in line else ""  # the one that is named train/can/0.png
    lines = [text for text in lines if text]
    path.write_text("\n".join([*lines, line, *lines[:1]][: len(lines) + 1]) + "\n", "utf-8")
    report = checked(capsys, path, expected=1)
    expected_line = len(lines) + 1
    assert [one["kind"] for one in report["findings"]] == [kind]
    assert report["findings"][0]["lines"] == [expected_line]
    assert words in report["findings"][0]["text"]
    assert main(["check", str(path)]) == 1
    assert f"line {expected_line}: " in capsys.readouterr().out


def test_faults_of_a_whole_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data / "train_list.txt"
    text = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    report = checked(capsys, path, expected=1)
    assert {one["kind"]: one["lines"] for one in report["findings"]} == {
        "byte order mark": [1],
        "CRLF": list(range(1, 13)),
    }
    main(["check", str(path)])
    assert "line 1-12: ends with CRLF" in capsys.readouterr().out
    save(data / "train" / "玻璃" / "0.png", noise(88))
    path.write_bytes(text + "train/玻璃/0.png 1\n".encode("gbk"))
    report = checked(capsys, path, expected=1)
    assert {one["kind"]: one["lines"] for one in report["findings"]} == {"encoding": [13]}
    assert report["readable"] == 13


def test_faults_of_the_label_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, lists = data / "label_list.txt", data / "train_list.txt"

    def found(text: bytes) -> list[str]:
        labels.write_bytes(text)
        return kinds(checked(capsys, lists, expected=1))

    assert found(b"\xef\xbb\xbf0 bottle\r\n1 can\r\n") == ["byte order mark", "CRLF"]
    assert found(b"0 bottle\n2 can\n") == ["label file"]
    assert found(b"0 bottle\n1 can\n2 wood\n") == ["class without images"]
    assert "label file" in found(b"0 can\n1 can\n")
    # the order of os.listdir() instead of the label file's
    assert found(b"0 can\n1 bottle\n") == ["number of another class"] * 2


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((1, 2), "count from 0"), ((0, 3), "class number 1-2;"), ((0, 1), "")],
)
def test_class_numbers_have_no_gap(
    data: Path, capsys: pytest.CaptureFixture[str], numbers: tuple[int, int], words: str
) -> None:
    (data / "label_list.txt").unlink()
    for path in data.glob("*_list.txt"):
        text = path.read_text(encoding="utf-8")
        text = text.replace(".png 1", f".png {numbers[1]}").replace(".png 0", f".png {numbers[0]}")
        path.write_text(text, encoding="utf-8")
    report = checked(capsys, *data.glob("*_list.txt"))
    assert kinds(report) == (["gap in class numbers"] if words else [])
    assert all(words in one["text"] for one in report["findings"])


def test_an_image_in_two_lists_leaks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (data / "val_list.txt").open("a", encoding="utf-8") as file:
        file.write("train/can/0.png 1\n")
    report = checked(capsys, data / "train_list.txt", data / "val_list.txt", expected=1)
    assert kinds(report) == ["exact copies across splits"]
