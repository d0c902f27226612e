"""Which images a data folder gives to train and to val, and in which order its classes come."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra train")

from tools.train.errors import DataError
from tools.train.splits import classes_of, load_split


def images(folder: Path, *names: str) -> None:
    for shade, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((8, 8, 3), 40 * shade, np.uint8))


def lists(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images, and no list of them yet."""
    images(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    return tmp_path


@pytest.mark.parametrize(
    ("labels", "text"), [("labels", "b\nnew\na\n"), ("label_list", "0 b\n1 new\n2 a\n")]
)
@pytest.mark.parametrize("suffix", ["_list", ""])
def test_the_label_file_gives_the_order_and_may_know_more(
    data: Path, capsys: pytest.CaptureFixture[str], labels: str, text: str, suffix: str
) -> None:
    splits = {f"train{suffix}": "a/1.png 2\nb/1.png 0\n", f"val{suffix}": "b/2.png 0\n"}
    lists(data, **{labels: text}, **splits)
    train = load_split(data, "train", 8)
    assert "warning: no images of new: never learned" in capsys.readouterr().err
    assert train.classes == classes_of(data) == ("b", "new", "a")
    assert train.targets.tolist() == [2, 0]
    assert [path.relative_to(data).as_posix() for path in train.paths] == ["a/1.png", "b/1.png"]
    val = load_split(data, "val", 8)
    assert "warning" not in capsys.readouterr().err
    assert val.classes == train.classes
    assert val.targets.tolist() == [0]
    assert val.images[0].mean() == 80


def test_an_empty_folder_of_a_class_is_an_error(tmp_path: Path) -> None:
    images(tmp_path, "train/a/1.png", "train/b/1.png")
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(DataError, match=r"empty: \['c'\]"):
        load_split(tmp_path, "train", 8)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"train_list": "a/1.png 0\nb/1.png 1\n", "labels": "a\nb\n"},
            "has lists and no val_list.txt",
        ),
        (
            {"train_list": "a/1.png 0\nb/1.png 1\n"},
            "no labels.txt or label_list.txt beside it",
        ),
        (
            {"train_list": "a/1.png 0\n", "val_list": "b/2.png 1\n", "labels": "a\nb\n"},
            "fewer than two classes",
        ),
        (
            {"train_list": "a/1.png 0\n", "val_list": "b/2.png 1\n", "labels": ""},
            "labels.txt is empty",
        ),
        (
            {"train_list": "a/1.png 0\nb/1.png 1\n", "val_list": "a/2.png 1\n", "labels": "a\nb\n"},
            r"val_list.txt line 1: .*tools.datasets check",
        ),
    ],
)
def test_what_is_wrong_with_lists_is_reported(
    data: Path, texts: dict[str, str], message: str
) -> None:
    lists(data, **texts)
    with pytest.raises(DataError, match=message):
        _ = [load_split(data, split, 8) for split in ("train", "val")]


@pytest.mark.parametrize("labels", ["", " \n"])
def test_a_label_file_without_labels_is_reported_to_an_export(data: Path, labels: str) -> None:
    lists(data, train_list="a/1.png 0\nb/1.png 1\n", labels=labels)
    with pytest.raises(DataError, match=r"labels\.txt"):
        classes_of(data)
