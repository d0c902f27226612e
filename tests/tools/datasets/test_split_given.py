"""`split` of datasets that have a test set, numbers for names, or folders that are not classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bundle.labels import read_labels
from tests.tools.datasets.calls import (
    Draw,
    listed,
    refusal,
    split,
)


@pytest.fixture
def data(class_folders: Path) -> Path:
    return class_folders


def test_a_test_set_that_is_there_stays_one(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "peach_data", tmp_path / "out"
    for start, name in enumerate(("B1", "M2")):
        for i in range(16):
            draw(data / "train" / name / f"{i:02}.png", 100 * start + i)
        for i in range(3):
            draw(data / "test" / name / f"{i:02}.png", 100 * start + 50 + i)
    assert split(data, out, "--every", "8", "--form", "paddleclas") == 0
    assert listed(out / "val_list.txt") == {
        f"val/{name}/{i:02}.png": number for number, name in enumerate(("B1", "M2")) for i in (0, 8)
    }
    assert len(listed(out / "train_list.txt")) == 28
    assert listed(out / "test_list.txt") == {
        f"test/{name}/{i:02}.png": number
        for number, name in enumerate(("B1", "M2"))
        for i in range(3)
    }
    for name in listed(out / "test_list.txt"):
        assert (out / name).samefile(data / name)
    assert capsys.readouterr().err == ""
    # An image of train among those of test is reported: nothing may move the images to test with.
    shutil.copyfile(data / "train" / "B1" / "03.png", data / "test" / "B1" / "03.png")
    assert split(data, tmp_path / "shares") == 0
    assert "1 images of the test set are in the other folder too" in capsys.readouterr().err
    counts = json.loads((tmp_path / "shares" / "dataset.json").read_text("utf-8"))["counts"]
    assert counts["B1"] == {"train": 13, "val": 3, "test": 4}
    text = refusal(capsys, split(data, tmp_path / "three", "--ratios", "0.7", "0.2", "0.1"))
    assert "peach_data has a test folder, which stays as it is; give --ratios for train and" in text


def test_what_a_mac_packs_is_no_class(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "__MACOSX" / "glass").mkdir(parents=True)
    (data / "__MACOSX" / "._glass.png").write_bytes(b"Mac OS X")
    (data / "glass" / "._glass00.png").write_bytes(b"Mac OS X")
    assert split(data, tmp_path / "out") == 0
    assert capsys.readouterr().err == ""
    counts = json.loads((tmp_path / "out" / "dataset.json").read_text("utf-8"))["counts"]
    assert {name: sum(by_split.values()) for name, by_split in counts.items()} == {
        "glass": 40,
        "paper": 20,
        "trash": 10,
    }


def test_numbered_folders_are_in_the_order_of_numbers(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        for i in range(3):
            draw(tmp_path / "data" / str(number) / f"{i}.png", 10 * number + i)
    assert split(tmp_path / "data", tmp_path / "out") == 0
    assert read_labels(tmp_path / "out" / "labels.txt") == tuple(map(str, range(12)))
    test = listed(tmp_path / "out" / "test_list.txt")
    assert len(test) == 12
    assert all(Path(name).parent.name == str(number) for name, number in test.items())
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"可回收物/{number}\n" for number in range(13)), encoding="utf-8")
    shutil.rmtree(tmp_path / "data" / "5")
    assert split(tmp_path / "data", tmp_path / "named", "--labels", str(labels)) == 0
    assert read_labels(tmp_path / "named" / "labels.txt") == read_labels(labels)
    test = listed(tmp_path / "named" / "test_list.txt")
    assert sorted(test.values()) == [number for number in range(12) if number != 5]
    assert all(Path(name).parent.name == str(number) for name, number in test.items())
    notes = capsys.readouterr().err
    assert notes == "note: no images of 可回收物/5, 可回收物/12: these keep their numbers\n"
    labels.write_text("a\nb\n", encoding="utf-8")
    text = refusal(capsys, split(tmp_path / "data", tmp_path / "b", "--labels", str(labels)))
    assert "has the class 2; the 2 labels have 0 to 1: rename the folder" in text


@pytest.fixture
def neu(tmp_path: Path, draw: Draw) -> Path:
    """Classes with the copies and lists that the script of the steel tutorial leaves beside."""
    folder = tmp_path / "NEU-CLS"
    for start, name in enumerate(("Cr", "Ps", "ln")):
        for i in range(10):
            image = draw(folder / name / f"{name}_{i}.bmp", 100 * start + i)
            copies = folder / ("evalImageSet" if i < 2 else "trainImageSet")
            copies.mkdir(exist_ok=True)
            shutil.copyfile(image, copies / image.name)
    (folder / "train.txt").write_text("trainImageSet/Cr_2.bmp 0\n")
    (folder / "eval.txt").write_text("evalImageSet/Cr_0.bmp 0\n")
    return folder


def test_folders_of_copies_are_no_classes(
    neu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    text = refusal(capsys, split(neu, out, "--form", "paddleclas"))
    assert "every image of evalImageSet, trainImageSet is in another class too" in text
    assert "give --leave-out evalImageSet trainImageSet, or keep each image in one class" in text
    assert not out.exists()
    leave_out = ["--leave-out", "evalImageSet", "trainImageSet"]
    assert split(neu, out, "--form", "paddleclas", *leave_out) == 0
    assert (out / "label_list.txt").read_bytes() == b"0 Cr\n1 Ps\n2 ln\n"
    notes = capsys.readouterr().err
    assert "NEU-CLS has lists already (eval.txt, train.txt), of another split" in notes
    assert "numbered" not in notes
    text = refusal(capsys, split(neu, tmp_path / "b", "--leave-out", "evalimageset"))
    assert "NEU-CLS has no class evalimageset to leave out; its folders are Cr, Ps, " in text
    # Even if its list files are gone, and only one of the two folders is there.
    shutil.rmtree(neu / "evalImageSet")
    assert "every image of trainImageSet is in" in refusal(capsys, split(neu, tmp_path / "c"))


def test_the_order_of_another_label_file_is_reported_and_taken(
    neu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = neu / "label_list.txt"
    labels.write_text("0\tln\n1\tPs\n2\tCr\n")
    call = [neu, tmp_path / "out", "--leave-out", "evalImageSet", "trainImageSet"]
    assert split(*call) == 0
    note = f"numbered Cr, Ps, ln here, and ln, Ps, Cr in {labels}; give --labels {labels} to keep"
    assert note in capsys.readouterr().err
    assert split(*call, "--force", "--labels", str(labels)) == 0
    assert "numbered" not in capsys.readouterr().err
    assert read_labels(tmp_path / "out" / "labels.txt") == ("ln", "Ps", "Cr")
    assert all(
        number == ("ln", "Ps", "Cr").index(Path(name).parent.name)
        for name, number in listed(tmp_path / "out" / "train_list.txt").items()
    )
    labels.write_text("ln\nPs\n")
    text = refusal(capsys, split(*call, "--force", "--labels", str(labels)))
    assert "has no label Cr; add it, or leave the folder out with --leave-out" in text
    labels.write_text("ln\nPs\nCr\nPs\n")
    text = refusal(capsys, split(*call, "--force", "--labels", str(labels)))
    assert "the label 'Ps' is there twice" in text


def test_what_is_no_image_is_left_out_and_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty.png", "page.jpg", "text.bmp", "z.png"):
        (data / "glass" / name).write_bytes(b"" if name == "empty.png" else b"<html></html>")
    whole = (data / "glass" / "glass07.png").read_bytes()
    (data / "glass" / "glass07.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    assert split(data, out) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: left out, because they cannot be read: 5; ")
    assert "empty.png: " in note
    assert f"and 2 more, which `check {data}` lists" in note
    record = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert record["unreadable"] == [
        f"glass/{name}" for name in ("empty.png", "glass07.png", "page.jpg", "text.bmp", "z.png")
    ]
    assert sum(record["counts"]["glass"].values()) == 39
    assert not {"page.jpg", "glass07.png"} & {path.name for path in out.rglob("*")}
    for image in (data / "trash").iterdir():
        image.write_bytes(b"no image")
    assert "the class trash has too few images" in refusal(capsys, split(data, tmp_path / "b"))
