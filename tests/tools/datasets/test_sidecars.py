"""Images without class folders, each with a text file that holds `img_1.jpg, 3`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.labels import read_labels
from tools.datasets.__main__ import main
from tools.datasets.errors import DatasetError
from tools.datasets.sidecars import read_sidecars
from tools.evaluation.errors import EvaluationError
from tools.evaluation.matching import match_classes
from tools.evaluation.samples import read_samples

LABELS = ("其他垃圾/烟蒂", "厨余垃圾/蛋壳", "可回收物/包", "可回收物/易拉罐")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve images: four each of the classes 0, 1 and 3."""
    folder = tmp_path / "train_data"
    folder.mkdir()
    for i in range(12):
        image = np.random.default_rng(i).integers(0, 256, (20, 24, 3), np.uint8)
        cv2.imwrite(str(folder / f"img_{i}.jpg"), image)
        (folder / f"img_{i}.txt").write_text(f"img_{i}.jpg, {(0, 1, 3)[i % 3]}")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(dict(enumerate(LABELS))), encoding="utf-8")
    return path


def as_json(
    capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0
) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_statistics_need_no_classes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, "statistics", data, "--size", "16")
    assert (document["pictures"], document["pixels"]) == (12, 12 * 16 * 16)
    for path in data.glob("*.txt"):
        path.unlink()
    assert as_json(capsys, "statistics", data, "--size", "16") == document


def test_a_check_counts_by_number_or_by_label(
    data: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = as_json(capsys, "check", data, code=1)
    counts = {one["name"]: one["count"] for one in document["classes"]}
    assert counts == {"0": 4, "1": 4, "2": 0, "3": 4}
    (finding,) = document["findings"]
    assert finding["kind"] == "gap in class numbers"
    document = as_json(capsys, "check", data, "--labels", labels, code=1)
    counts = {one["name"]: one["count"] for one in document["classes"]}
    assert counts == dict(zip(LABELS, (4, 4, 0, 4), strict=True))
    assert [one["kind"] for one in document["findings"]] == ["class without images"]
    assert document["other_files"] == 0


def test_a_split_keeps_the_numbers(
    data: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["split", data, "--form", "paddleclas", "--every", "4"]
    document = as_json(capsys, *call, "--labels", labels, "--output", tmp_path / "named")
    assert document["counts"]["可回收物/易拉罐"] == {"train": 3, "val": 1}
    assert document["counts"]["可回收物/包"] == {"train": 0, "val": 0}
    assert as_json(capsys, *call, "--output", tmp_path / "numbered")["counts"]["3"]["val"] == 1
    # A label with / in it is no folder's name.
    lines = (tmp_path / "named" / "val_list.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["val/0/img_0.jpg 0", "val/1/img_1.jpg 1", "val/3/img_11.jpg 3"]
    for folder, names in (("named", LABELS), ("numbered", ("0", "1", "2", "3"))):
        assert read_labels(tmp_path / folder / "label_list.txt") == names
        for line in (tmp_path / folder / "train_list.txt").read_text("utf-8").splitlines():
            name, number = line.split(" ")
            image = data / Path(name).name
            assert (tmp_path / folder / name).samefile(image)
            assert image.with_suffix(".txt").read_text() == f"{image.name}, {number}"
    checked = as_json(capsys, "check", *sorted((tmp_path / "named").glob("*.txt")), code=1)
    assert [one["kind"] for one in checked["findings"]] == ["class without images"]


def test_a_split_says_which_classes_have_no_images(
    data: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["split", str(data), "--labels", str(labels), "--output", str(tmp_path / "out")]
    assert main(call) == 0
    assert capsys.readouterr().err == "note: no images of 可回收物/包: these keep their numbers\n"


def test_classes_are_put_together_by_their_numbers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text('"0": rest\n"1": rest\n"3": can\n', encoding="utf-8")
    document = as_json(capsys, "map", data, "--rules", rules, "--output", tmp_path / "out")
    assert {name: sum(n.values()) for name, n in document["counts"].items()} == {
        "can": 4,
        "rest": 8,
    }


def test_an_evaluation_takes_them_by_label_or_by_number(data: Path, labels: Path) -> None:
    dataset, _ = read_samples(data, None, None, labels)
    assert match_classes(dataset, LABELS, None, by_number=False) == {
        "其他垃圾/烟蒂": 0,
        "厨余垃圾/蛋壳": 1,
        "可回收物/易拉罐": 3,
    }
    dataset, _ = read_samples(data, None, None, None)
    assert match_classes(dataset, LABELS, None, by_number=False) == {"0": 0, "1": 1, "3": 3}
    (data / "img_5.txt").unlink()
    with pytest.raises(EvaluationError, match=r"img_5\.jpg: has no class; write `img_5\.jpg, 3`"):
        read_samples(data, None, None, labels)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("img_5.jpg 3", "no class number", "is not `img_1.jpg, 3`: name, comma, class number"),
        ("img_5.jpg, glass", "no class number", "is not `img_1.jpg, 3`"),
        ("img_99.jpg, 3", "missing file", "names img_99.jpg, which is not in"),
        ("img_5.jpg, 4", "class number out of range", "has class number 4; the 4 labels have 0 to"),
        ("img_5.jpg, -1", "class number out of range", "has class number -1"),
        ("img_4.jpg, 3", "two classes", "img_4.jpg has class 3 here and 1 in img_4.txt"),
    ],
)
def test_a_line_that_is_wrong_is_reported(
    data: Path,
    labels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    kind: str,
    words: str,
) -> None:
    (data / "img_5.txt").write_text(text)
    document = as_json(capsys, "check", data, "--labels", labels, code=1)
    (finding,) = (one for one in document["findings"] if one["where"].endswith("img_5.txt"))
    assert (finding["kind"], finding["lines"]) == (kind, [1])
    assert words in finding["text"]
    call = ["split", str(data), "--labels", str(labels), "--output", str(tmp_path / "out")]
    assert main(call) == 2
    assert f"img_5.txt line 1: {finding['text']}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lines_as_other_programs_write_them(data: Path) -> None:
    for name, content in {
        "img_0": b"\xef\xbb\xbfimg_0.jpg, 0\r\n",
        "img_1": b"img_1.jpg,1",
        "img_2": "img_2.jpg，3\n\n".encode(),
    }.items():
        (data / f"{name}.txt").write_bytes(content)
    (data / "img_3.jpg").rename(data / "易拉罐.jpg")
    (data / "img_3.txt").write_bytes("易拉罐.jpg, 0".encode("gbk"))
    (data / "readme.txt").write_text("Images, 3 kinds\nof waste")
    (data / "._img_0.txt").write_bytes(b"Mac OS X, 1")
    dataset = read_sidecars(data, LABELS)
    kinds = {finding.kind for finding in dataset.findings}
    assert kinds == {"class without images"}
    assert sorted(p.class_name for p in dataset.images) == sorted(
        4 * [LABELS[0], LABELS[1], LABELS[3]]
    )


def test_what_they_leave_in_doubt(
    data: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    assert main(["split", str(data), "--output", output, "--leave-out", "glass"]) == 2
    assert "--leave-out goes with class folders" in capsys.readouterr().err
    assert main(["check", str(data), "--root", str(tmp_path)]) == 2
    assert "--root and --labels go with list files" in capsys.readouterr().err
    for path in data.glob("*.txt"):
        path.write_text("glass")
    with pytest.raises(DatasetError, match=r"no \.txt holds a line such as `img_1\.jpg, 3`"):
        read_sidecars(data, ())
    for path in data.glob("*.txt"):
        path.unlink()
    assert main(["check", str(data)]) == 2
    assert "write `img_1.jpg, 3` into img_1.txt beside img_1.jpg" in capsys.readouterr().err


def test_of_many_classes_without_images_some_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = tmp_path / "many.txt"
    many.write_text("".join(f"label_{i}\n" for i in range(40)), encoding="utf-8")
    (finding,) = as_json(capsys, "check", data, "--labels", many, code=1)["findings"]
    assert "label_2, label_4, " in finding["text"]
    assert "label_14 and 25 more; add images or remove the label" in finding["text"]
