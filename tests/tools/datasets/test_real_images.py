"""`check`, `statistics` and `split` on real images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.datasets.calls import (
    checked,
    kinds,
    plain,
    statistics,
)
from tools.datasets.__main__ import main


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
