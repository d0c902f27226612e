"""`python -m tools.datasets check` on class folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tools.datasets.calls import (
    checked,
    kinds,
    noise,
    refused,
    save,
)
from tools.datasets.__main__ import main
from tools.datasets.duplicates import near_groups
from tools.datasets.inspection import difference_hashes


@pytest.fixture
def data(listed_dataset: Path) -> Path:
    return listed_dataset


def test_a_clean_dataset_is_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = checked(capsys, data, expected=0)
    assert (report["pictures"], report["readable"]) == (16, 16)
    assert report["classes"] == [
        {"name": "bottle", "count": 8, "share": 0.5, "splits": {"train": 6, "val": 2}},
        {"name": "can", "count": 8, "share": 0.5, "splits": {"train": 6, "val": 2}},
    ]
    assert report["largest_to_smallest"] == 1
    assert report["sizes"]["width"] == {"min": 48, "median": 48, "max": 48}
    assert main(["check", str(data)]) == 0
    table = capsys.readouterr().out
    assert "16 images, 0 of them unreadable, 2 classes" in table
    assert "no findings" in table


def test_balance_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(6):
        save(tmp_path / "many" / f"{i}.bmp", noise(i, 20 + i, 30))
    save(tmp_path / "few" / "0.webp", noise(10, 50, 60))
    save(tmp_path / "few" / "1.tiff", noise(11, 51, 60))
    report = checked(capsys, tmp_path, expected=0)
    assert [one["share"] for one in report["classes"]] == [0.25, 0.75]
    assert report["largest_to_smallest"] == 3
    assert report["sizes"]["height"] == {"min": 20, "median": 23.5, "max": 51}


def test_unreadable_images_are_reported_with_the_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data / "train" / "can"
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("<html>not found</html>")
    whole = save(tmp_path / "whole.jpg", noise(1)).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    report = checked(capsys, data, expected=1)
    reasons = {Path(one["where"]).name: one["text"] for one in report["findings"]}
    assert kinds(report) == ["unreadable"] * 5
    assert "0 bytes" in reasons["empty.jpg"]
    assert "an HTML page" in reasons["text.jpg"]
    assert "cut off" in reasons["cut.jpg"]
    assert "missing, or a link to nothing" in reasons["gone.jpg"]
    assert "no ordinary file" in reasons["pipe.jpg"]
    assert (report["pictures"], report["readable"]) == (21, 16)
    assert main(["check", str(data)]) == 1
    assert "5 of them unreadable" in capsys.readouterr().out


def test_exact_copies(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def copy(source: str, target: str) -> None:
        (data / target).write_bytes((data / source).read_bytes())

    copy("train/can/0.png", "train/can/again.png")
    copy("train/can/1.png", "val/can/leak.png")
    copy("train/can/2.png", "train/bottle/wrong.png")
    copy("train/can/3.png", "val/bottle/both.png")
    report = checked(capsys, data, expected=1)
    by_copy = {
        name: (one["kind"], len(one["pictures"]))
        for one in report["findings"]
        for name in map(os.path.basename, one["pictures"])
        if not name[0].isdigit()
    }
    assert by_copy == {
        "again.png": ("exact copies", 2),
        "leak.png": ("exact copies across splits", 2),
        "wrong.png": ("exact copies across classes", 2),
        "both.png": ("exact copies across splits", 2),
    }
    assert len(report["findings"]) == 4
    assert any("the classes differ too (bottle, can)" in one["text"] for one in report["findings"])


def test_near_copies_across_splits_and_classes(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smaller = cv2.resize(noise(0, 400, 480), (240, 200), interpolation=cv2.INTER_AREA)
    save(data / "train" / "bottle" / "large.png", noise(0, 400, 480))
    save(data / "val" / "bottle" / "small.jpg", smaller, cv2.IMWRITE_JPEG_QUALITY, 90)
    brighter = cv2.convertScaleAbs(noise(101), alpha=0.9, beta=15)
    save(data / "train" / "bottle" / "bright.png", brighter)
    save(data / "train" / "can" / "same_class.png", cv2.convertScaleAbs(noise(102), beta=1))
    report = checked(capsys, data, expected=1)
    found = {
        one["kind"]: {"/".join(Path(p).parts[-3:]) for p in one["pictures"]}
        for one in report["findings"]
    }
    assert {"train/bottle/large.png", "val/bottle/small.jpg"} <= found["near copies across splits"]
    assert found["near copies across classes"] == {"train/bottle/bright.png", "train/can/1.png"}
    assert len(report["findings"]) == 2


def test_near_groups_are_those_of_comparing_all_with_all() -> None:
    rng = np.random.default_rng(4)
    words = rng.integers(0, 2**63, (60, 2), np.uint64)
    near = [words]
    for flips in (1, 2, 3):
        changed = words[:20].copy()
        for row in changed:
            for column in range(2):
                for bit in rng.choice(64, flips, replace=False):
                    row[column] ^= np.uint64(1) << np.uint64(bit)
        near.append(changed)
    hashes = np.concatenate(near)
    numbers = [(int(a), int(b)) for a, b in hashes]
    close = {
        (i, j)
        for i, one in enumerate(numbers)
        for j, other in enumerate(numbers[:i])
        if all((a ^ b).bit_count() <= 2 for a, b in zip(one, other, strict=True))
    }
    groups = near_groups(hashes[:, 0], hashes[:, 1])
    group_of = {member: position for position, group in enumerate(groups) for member in group}
    assert {member for pair in close for member in pair} == set(group_of)
    assert all(group_of[i] == group_of[j] for i, j in close)
    assert near_groups(hashes[:0, 0], hashes[:0, 1]) == []


def test_a_mirrored_image_is_another() -> None:
    image = noise(5)
    hashes = np.array([difference_hashes(image), difference_hashes(image[:, ::-1])], np.uint64)
    assert near_groups(hashes[:, 0], hashes[:, 1]) == []


def test_class_folders_that_are_not_in_order(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "train" / "paper").mkdir()
    save(data / "val" / "wood" / "0.png", noise(50))
    (data / "val" / "can" / "deeper").mkdir()
    (data / "val" / "can" / "notes.md").touch()
    report = checked(capsys, data, expected=1)
    assert sorted(kinds(report)) == ["class missing in a split", "empty class", "folder in a class"]
    assert report["other_files"] == 1
    missing = [one for one in report["findings"] if one["kind"] == "class missing in a split"]
    assert "the class wood has no images in train" in missing[0]["text"]


def test_several_folders_are_splits_of_one_dataset(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = checked(capsys, data / "train", data / "val", expected=0)
    assert report["classes"][0]["splits"] == {"train": 6, "val": 2}


def test_only_some_of_many_findings_are_shown(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(15):
        (data / "val" / "can" / f"bad{i:02}.png").touch()
    assert main(["check", str(data)]) == 1
    out = capsys.readouterr().out
    assert "unreadable: 15" in out
    assert "and 5 more; --json lists all" in out
    assert len(checked(capsys, data)["findings"]) == 15


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_no_terminal_shows(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "val" / "can" / os.fsdecode(b"\xb2.png")).touch()
    (data / "val" / "can" / "\x1b[31m\n[bold].png").touch()
    assert main(["check", str(data)]) == 1
    out = capsys.readouterr().out
    assert "\\udcb2.png" in out
    assert "\\x1b[31m\\n[bold].png" in out
    assert len(checked(capsys, data)["findings"]) == 2


def test_wrong_calls_are_reported(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, image = data / "train_list.txt", data / "train" / "can" / "0.png"
    assert "there is no" in refused(capsys, "check", data / "nowhere")
    assert "is an image" in refused(capsys, "check", image)
    assert "call once for each" in refused(capsys, "check", data, train)
    assert "go with list files" in refused(capsys, "check", data, "--root", data)
    assert "--root is where" in refused(capsys, "check", train, "--root", data / "nowhere")
    assert "holds labels" in refused(capsys, "check", data / "label_list.txt")
    assert "cannot be read" in refused(capsys, "check", train, "--labels", data / "nowhere.txt")
    train.write_bytes(b" \n")
    assert "is empty" in refused(capsys, "check", train)
    train.write_bytes("train/can/0.png 1".encode("utf-16"))
    assert "is UTF-16 or no text" in refused(capsys, "check", train)
    (data / "train.csv").write_bytes(b"\0\1\2")
    assert "is UTF-16 or no text" in refused(capsys, "check", data / "train.csv")


def test_output_goes_through_a_pipe_that_closes(root: Path, data: Path) -> None:
    call = f"{sys.executable} -m tools.datasets check --json {data} | true"
    done = subprocess.run(
        ["bash", "-c", call], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_folders_of_copies_and_of_a_mac_are_no_classes(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = data / "train" / "trainImageSet"
    mixed.mkdir()
    for path in sorted(data.glob("train/*/*.png")):
        shutil.copyfile(path, mixed / f"{path.parent.name}_{path.name}")
    (data / "train" / "__MACOSX" / "glass").mkdir(parents=True)
    report = checked(capsys, data / "train", expected=1)
    found = [one for one in report["findings"] if one["kind"] == "class of copies"]
    assert [one["text"].split(" is in another")[0] for one in found] == [
        "every image of trainImageSet"
    ]
    assert "__MACOSX" not in {one["name"] for one in report["classes"]}
