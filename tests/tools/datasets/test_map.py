"""`python -m tools.datasets map`: classes are merged by rules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
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


RULES = "glass: recyclable\npaper: recyclable\ntrash: residual\n"


def regroup(data: Path, rules: str, output: Path, *more: str) -> int:
    path = data.parent / "rules.yml"
    path.write_text(rules, encoding="utf-8")
    return main(["map", str(data), "--rules", str(path), "--output", str(output), *more])


def test_classes_are_put_together(data: Path, tmp_path: Path, draw: Draw) -> None:
    draw(data / "glass" / "same.png", 1)
    draw(data / "paper" / "same.png", 2)
    draw(data / "trash" / "same.png", 3)
    out = tmp_path / "out"
    assert regroup(data, RULES, out) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "recyclable",
        "residual",
    ]
    assert len(list((out / "recyclable").iterdir())) == 62
    for name in ("glass", "paper"):
        moved = out / "recyclable" / f"{name}_same.png"
        assert moved.samefile(data / name / "same.png")
    assert (out / "residual" / "same.png").samefile(data / "trash" / "same.png")


def test_a_split_dataset_keeps_its_splits_and_null_drops(data: Path, tmp_path: Path) -> None:
    divided, out = tmp_path / "divided", tmp_path / "out"
    assert split(data, divided) == 0
    assert regroup(divided, "glass: 玻璃\npaper: null\ntrash: 其他\n", out, "--link") == 0
    counts = json.loads((out / "dataset.json").read_text(encoding="utf-8"))["counts"]
    assert counts == {
        "其他": {"train": 7, "val": 2, "test": 1},
        "玻璃": {"train": 28, "val": 8, "test": 4},
    }
    assert all(path.is_symlink() for path in out.glob("*/*/*.png"))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("glass: a\n", "no rule for paper, trash; add `paper: NEW_CLASS`"),
        (RULES + "metall: a\n", "a rule for metall"),
        (RULES + "glass: b\n", "given twice"),
        (RULES + "1.0: b\n", "line 4: 1.0 is no name of a class"),
        (RULES + "1: b\n", "a rule for 1"),
        ("glass: no\n", "line 1: no is no name of a class, for YAML reads it as a truth value"),
        ("- glass\n", "must hold lines"),
        ("", "must hold lines"),
        ("glass: [\n", "cannot be read as YAML"),
        ("glass: a/b\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: ..\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: ' '\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: null\npaper: null\ntrash: ~\n", "drops every class"),
    ],
)
def test_rules_that_do_not_fit_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: str, words: str
) -> None:
    assert words in refusal(capsys, regroup(data, rules, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_that_meet_all_the_same_are_reported(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(data / "glass" / "same.png", 1)
    draw(data / "glass" / "paper_same.png", 2)
    draw(data / "paper" / "same.png", 3)
    assert "is called recyclable/paper_same.png too" in refusal(
        capsys, regroup(data, RULES, tmp_path / "out")
    )


def test_missing_rules_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["map", str(data), "--rules", "nowhere.yml", "--output", str(tmp_path / "out")])
    assert "there is no nowhere.yml" in refusal(capsys, code)


def test_the_command_line_works_from_a_shell(root: Path, data: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "tools.datasets", "split", str(data), "--json"]
    done = subprocess.run(
        [*call, "--output", str(tmp_path / "out")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary["lists"] == ["labels.txt", "test_list.txt", "train_list.txt", "val_list.txt"]
    assert summary["counts"]["trash"] == {"train": 7, "val": 2, "test": 1}


def test_a_map_writes_lists_in_the_order_of_a_label_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output, labels = tmp_path / "data", tmp_path / "out", tmp_path / "labels.txt"
    rules = tmp_path / "rules.yml"
    for name in ("can", "peel"):
        (data / "train" / name).mkdir(parents=True)
        image = np.full((8, 8, 3), len(name), np.uint8)
        cv2.imwrite(str(data / "train" / name / f"{name}.png"), image)
    rules.write_text("can: Recyclable\npeel: Food\n", encoding="utf-8")
    labels.write_text("Recyclable\nHarmful\nFood\n", encoding="utf-8")
    call = ["map", str(data), "--rules", str(rules), "--labels", str(labels), "--form", "paddlex"]
    assert main([*call, "--output", str(output)]) == 0
    assert (output / "labels.txt").read_text(encoding="utf-8") == "Recyclable\nHarmful\nFood\n"
    listed = (output / "train_list.txt").read_text(encoding="utf-8")
    assert listed == "train/Recyclable/can.png 0\ntrain/Food/peel.png 2\n"
    labels.write_text("Recyclable\n", encoding="utf-8")
    assert main([*call, "--output", str(tmp_path / "other")]) == 2
    assert "has no label Food; add it, or change a rule" in capsys.readouterr().err
