"""`python -m tools.datasets statistics`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.operators.normalize import normalize_image
from tests.tools.datasets.calls import (
    checked,
    noise,
    plain,
    refused,
    save,
    statistics,
)
from tools.datasets.__main__ import main


@pytest.fixture
def data(listed_dataset: Path) -> Path:
    return listed_dataset


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
    operator = normalize_image(**entry)
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
