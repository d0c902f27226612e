"""`python -m tools.datasets split`: which image goes where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
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


def test_every_class_is_divided_by_the_ratios(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert split(data, out) == 0
    counts = json.loads((out / "dataset.json").read_text(encoding="utf-8"))["counts"]
    assert counts == {
        "glass": {"train": 28, "val": 8, "test": 4},
        "paper": {"train": 14, "val": 4, "test": 2},
        "trash": {"train": 7, "val": 2, "test": 1},
    }
    names = [listed(out / f"{name}_list.txt") for name in ("train", "val", "test")]
    assert [len(entries) for entries in names] == [49, 14, 7]
    originals = {path.name for path in data.glob("*/*.png")}
    assert {Path(name).name for entries in names for name in entries} == originals
    assert read_labels(out / "labels.txt") == ("glass", "paper", "trash")
    for entries in names:
        for name, number in entries.items():
            assert (out / name).read_bytes() == (data / Path(*Path(name).parts[1:])).read_bytes()
            assert ("glass", "paper", "trash")[number] == Path(name).parent.name


def test_the_lists_of_paddleclas_have_their_labels_numbered(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert split(data, out, "--form", "paddleclas", "--ratios", "0.8", "0.2") == 0
    assert (out / "label_list.txt").read_bytes() == b"0 glass\n1 paper\n2 trash\n"
    assert not (out / "labels.txt").exists()
    assert not (out / "test").exists()
    assert len(listed(out / "train_list.txt")) == 56
    assert len(listed(out / "val_list.txt")) == 14


def test_every_eighth_image_goes_to_val(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert split(data, out, "--every", "8") == 0
    val = sorted(path.name for path in (out / "val" / "glass").iterdir())
    assert val == [f"glass{i:02}.png" for i in range(0, 40, 8)]
    assert not (out / "test_list.txt").exists()


def test_a_split_depends_on_content_and_seed_alone(data: Path, tmp_path: Path, draw: Draw) -> None:
    outs = [tmp_path / name for name in ("one", "two", "seeded", "grown")]
    assert split(data, outs[0]) == 0
    assert split(data, outs[1], "--jobs", "2") == 0
    assert split(data, outs[2], "--seed", "7") == 0
    draw(data / "wood" / "a.png", 9001)
    draw(data / "wood" / "b.png", 9002)
    draw(data / "wood" / "c.png", 9003)
    (data / "glass" / "glass00.png").rename(data / "glass" / "other.png")
    assert split(data, outs[3]) == 0
    lists = [(out / "val_list.txt").read_text(encoding="utf-8") for out in outs]
    assert lists[0] == lists[1]
    assert lists[0] != lists[2]
    kept = [line for line in lists[3].splitlines() if "wood" not in line]
    renamed = [line.replace("other.png", "glass00.png") for line in kept]
    assert sorted(renamed) == sorted(lists[0].splitlines())


@pytest.fixture
def fruits(tmp_path: Path, draw: Draw) -> Path:
    """Two classes, each with one to four images of 30 fruits: `3_b12_1.png` shows fruit b12."""
    folder = tmp_path / "fruits"
    rng = np.random.default_rng(5)
    for fruit in range(30):
        for class_name in ("fresh", "spoilt"):
            for i in range(int(rng.integers(1, 5))):
                name = f"{i}_{'ab'[fruit % 2]}{fruit}_{i}.png"
                draw(folder / class_name / name, hash((fruit, class_name == "fresh", i)) % 2**32)
    return folder


@pytest.mark.parametrize("more", [[], ["--seed", "3"], ["--ratios", "0.5", "0.5"]])
def test_images_of_one_thing_stay_together(fruits: Path, tmp_path: Path, more: list[str]) -> None:
    out = tmp_path / "out"
    assert split(fruits, out, "--together", r"_([ab]\d+)_", *more) == 0
    homes: dict[str, set[str]] = {}
    for path in out.glob("*/*/*.png"):
        homes.setdefault(path.name.split("_")[1], set()).add(path.parts[-3])
    assert len(homes) == 30
    assert all(len(splits) == 1 for splits in homes.values())
    record = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert (record["together"], record["groups"]) == (r"_([ab]\d+)_", 30)
    for name, counts in record["counts"].items():
        total = len(list((fruits / name).iterdir()))
        for ratio, (_, count) in zip(record["ratios"], counts.items(), strict=False):
            assert abs(count - ratio * total) <= 4, counts  # the images of one fruit


def test_a_copy_under_the_name_of_another_thing_joins_both(fruits: Path, tmp_path: Path) -> None:
    for fruit in range(0, 24, 2):
        (source,) = (fruits / "fresh").glob(f"0_a{fruit}_*.png")
        (fruits / "fresh" / f"9_b{fruit + 1}_9.png").write_bytes(source.read_bytes())
    out = tmp_path / "out"
    assert split(fruits, out, "--together", "[ab][0-9]+") == 0
    homes = {p.name.split("_")[1][1:]: p.parts[-3] for p in out.glob("*/*/*.png")}
    assert all(homes[str(i)] == homes[str(i + 1)] for i in range(0, 24, 2))
    record = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert (record["groups"], record["copies"]) == (18, 12)


def test_names_of_files_and_things_do_not_decide_where_they_go(
    fruits: Path, tmp_path: Path
) -> None:
    contents = []
    for out in (tmp_path / "one", tmp_path / "two"):
        assert split(fruits, out, "--together", "[abc][0-9]+") == 0
        contents.append({path.read_bytes() for path in (out / "val").glob("*/*.png")})
        for path in fruits.glob("*/*_b*.png"):
            path.rename(path.with_name("x" + path.name.replace("_b", "_c")))
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--together", "_(x)?"], "finds nothing in its name"),
        (["--together", ""], "images of one thing stay together"),
        (["--together", "[ab]", "--every", "3"], "leave out --ratios, --seed and --together"),
    ],
)
def test_what_cannot_be_kept_together(
    fruits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert message in refusal(capsys, split(fruits, tmp_path / "out", *more))
    with pytest.raises(SystemExit):
        split(fruits, tmp_path / "out", "--together", "(")
    assert "is no regular expression" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [[], ["--seed", "3"], ["--every", "2"]])
def test_copies_of_an_image_stay_together(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    for i in range(12):
        source = (data / "glass" / f"glass{i:02}.png").read_bytes()
        (data / "glass" / f"again{i:02}.png").write_bytes(source)
        (data / "paper" / f"again{i:02}.png").write_bytes(source)
    out = tmp_path / "out"
    assert split(data, out, *more) == 0
    assert "note: 12 images are in more than one class" in capsys.readouterr().err
    homes: dict[bytes, set[str]] = {}
    for path in out.glob("*/*/*.png"):
        homes.setdefault(path.read_bytes(), set()).add(path.parts[-3])
    assert len(homes) == 70
    assert all(len(splits) == 1 for splits in homes.values())
    record = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert (record["copies"], record["copies_in_two_classes"]) == (24, 12)


def test_no_split_is_empty_however_small_the_class(tmp_path: Path, draw: Draw) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for i in range(3):
        draw(data / "small" / f"{i}.png", i)
    for i in range(8):  # eight copies of one image and two others
        draw(data / "copies" / f"{i}.png", 100)
    draw(data / "copies" / "8.png", 101)
    draw(data / "copies" / "9.png", 102)
    assert split(data, out, "--ratios", "0.98", "0.01", "0.01") == 0
    counts = json.loads((out / "dataset.json").read_text(encoding="utf-8"))["counts"]
    assert counts["small"] == {"train": 1, "val": 1, "test": 1}
    assert counts["copies"] == {"train": 8, "val": 1, "test": 1}
