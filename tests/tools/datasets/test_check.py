"""`python -m tools.datasets check` and `statistics`, on drawn images and on real ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.normalize import NormalizeImage
from tools.datasets.__main__ import main
from tools.datasets.duplicates import near_groups
from tools.datasets.inspection import difference_hashes


def noise(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth noise, as photographs are smooth."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (width, height))


def save(path: Path, image: np.ndarray, *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    written, data = cv2.imencode(path.suffix, image, options)
    assert written
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six images each of bottle and can in train, two each in val; and their lists."""
    folder = tmp_path / "data"
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for number, name in enumerate(("bottle", "can")):
        for i in range(8):
            split = "train" if i < 6 else "val"
            save(folder / split / name / f"{i}.png", noise(100 * number + i))
            lines[split].append(f"{split}/{name}/{i}.png {number}\n")
    for split, texts in lines.items():
        (folder / f"{split}_list.txt").write_text("".join(texts), encoding="utf-8")
    (folder / "label_list.txt").write_text("0 bottle\n1 can\n", encoding="utf-8")
    return folder


def checked(
    capsys: pytest.CaptureFixture[str], *arguments: object, expected: int | None = None
) -> dict[str, Any]:
    """The report of `check --json`."""
    capsys.readouterr()
    code = main(["check", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.err == ""
    report: dict[str, Any] = json.loads(captured.out)
    assert code == (0 if report["clean"] else 1)
    assert report["clean"] == (not report["findings"])
    assert expected is None or code == expected
    return report


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


def kinds(report: dict[str, Any]) -> list[str]:
    return [finding["kind"] for finding in report["findings"]]


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


def statistics(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["statistics", "--json", *map(str, arguments)]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def plain(paths: list[Path], size: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean and deviation of all pixels at once."""
    images = [decode_image(path.read_bytes()) for path in paths]
    if size:
        images = [cv2.resize(image, (size, size)) for image in images]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
    return pixels.mean(axis=0), pixels.std(axis=0), len(pixels)


@pytest.mark.parametrize("size", [None, 32])
def test_statistics_are_those_of_all_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int | None
) -> None:
    paths = [save(tmp_path / f"c{i % 3}" / f"{i}.png", noise(i, 20 + 9 * i)) for i in range(20)]
    result = statistics(capsys, tmp_path, *(["--size", size] if size else []))
    mean, std, pixels = plain(paths, size)
    assert result["mean"] == pytest.approx(mean, rel=1e-12)
    assert result["std"] == pytest.approx(std, rel=1e-12)
    assert (result["pictures"], result["pixels"]) == (20, pixels)


def test_a_tiny_deviation_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.full((1000, 1000, 3), 255, np.uint8)
    image[0, 0] = 254
    save(tmp_path / "white" / "0.png", image)
    result = statistics(capsys, tmp_path)
    assert result["std"] == pytest.approx([np.sqrt(1e-6 - 1e-12) / 255] * 3, rel=1e-12)


def test_statistics_stand_as_transform_ops_take_them(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    assert main(["statistics", str(data / "train")]) == 0
    entry = yaml.safe_load(capsys.readouterr().out)[0]["NormalizeImage"]
    operator = NormalizeImage(**entry)
    images = [decode_image(path.read_bytes()) for path in data.glob("train/*/*.png")]
    pixels = operator(np.stack(images)).reshape(-1, 3)
    assert pixels.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)
    assert pixels.std(axis=0) == pytest.approx(np.ones(3), abs=1e-3)


def test_statistics_of_a_split_dataset_are_of_train(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        statistics(capsys, source) for source in (data, data / "train", data / "train_list.txt")
    ]
    assert [one["pictures"] for one in results] == [12, 12, 12]
    assert results[0]["mean"] == results[1]["mean"] == results[2]["mean"]
    assert results[0]["source"].endswith("data/train")


def test_what_cannot_be_measured_is_reported(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_file = data / "train_list.txt"
    with list_file.open("a", encoding="utf-8") as file:
        file.write("train/can/gone.png 1\n")
    assert "train_list.txt line 13: is not under" in refused(capsys, "statistics", list_file)
    list_file.write_text("train/can/0.png 1\r\n", encoding="utf-8")  # no image of class 0
    assert statistics(capsys, list_file)["pictures"] == 1
    grey = np.full((8, 8, 3), 7, np.uint8)
    for name in ("a", "b"):
        save(data.parent / "flat" / name / "0.png", grey)
    assert "the same value in every pixel" in refused(capsys, "statistics", data.parent / "flat")
    (data / "train" / "can" / "bad.png").touch()
    assert "bad.png: the image is empty" in refused(capsys, "statistics", data)


def test_processes_give_what_one_process_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(240):
        save(tmp_path / f"c{i % 2}" / f"{i}.png", noise(i, 16, 16))
    (tmp_path / "c0" / "bad.jpg").touch()
    assert checked(capsys, tmp_path, "--jobs", 1) == checked(capsys, tmp_path, "--jobs", 2)
    (tmp_path / "c0" / "bad.jpg").unlink()
    one, two = (statistics(capsys, tmp_path, "--jobs", jobs) for jobs in (1, 2))
    assert one == two


def test_output_goes_through_a_pipe_that_closes(root: Path, data: Path) -> None:
    call = f"{sys.executable} -m tools.datasets check --json {data} | true"
    done = subprocess.run(
        ["bash", "-c", call], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_real_waste_images(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No copy to the byte; one object stands in both lists, as the model's README says."""
    report = checked(capsys, shared / "data" / "waste", expected=1)
    assert (report["pictures"], report["readable"]) == (2091, 2091)
    assert kinds(report) == ["near copies across splits"]
    names = sorted(Path(path).name for path in report["findings"][0]["pictures"])
    assert names == ["paper185.jpg", "paper390.jpg"]
    trash = report["classes"][-1]
    assert (trash["name"], trash["splits"]) == ("trash", {"train": 91, "val": 17})


@pytest.mark.parametrize(("name", "images", "classes"), [("steel", 840, 6), ("fruit", 1040, 4)])
def test_other_real_images(
    shared: Path, capsys: pytest.CaptureFixture[str], name: str, images: int, classes: int
) -> None:
    report = checked(capsys, shared / "data" / name)
    assert (report["readable"], len(report["classes"])) == (images, classes)
    assert report["largest_to_smallest"] == 1
    assert all(kind.startswith("near copies") for kind in kinds(report))


def test_statistics_of_real_images(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "data" / "fruit" / "val"
    result = statistics(capsys, folder)
    mean, std, _ = plain(sorted(folder.glob("*/*.jpg")))
    assert result["mean"] == pytest.approx(mean, rel=1e-9)
    assert result["std"] == pytest.approx(std, rel=1e-9)


def test_real_images_are_split_as_the_waste_tutorial_does(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, four, out = shared / "data" / "waste" / "train", tmp_path / "four", tmp_path / "out"
    rules = tmp_path / "rules.yml"
    recyclable = ("cardboard", "glass", "metal", "paper", "plastic")
    rules.write_text(
        "".join(f"{name}: RecyclableWaste\n" for name in recyclable) + "trash: OtherWaste\n"
    )
    assert main(["map", str(data), "--rules", str(rules), "--output", str(four), "--link"]) == 0
    assert main(["split", str(four), "--output", str(out), "--link"]) == 0
    report = checked(capsys, *sorted(out.glob("*_list.txt")))
    assert set(kinds(report)) <= {"near copies across splits"}
    assert [list(one["splits"].values()) for one in report["classes"]] == [
        [64, 18, 9],
        [1171, 335, 167],
    ]


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
