"""`python -m tools.datasets split` and `map` on drawn images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundle.labels import read_labels
from tools.datasets.__main__ import main

Draw = Callable[..., Path]


@pytest.fixture
def draw() -> Draw:
    """Write a noise image that no other seed gives."""

    def write(path: Path, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        written, data = cv2.imencode(path.suffix, rng.integers(0, 256, (*size, 3), np.uint8))
        assert written
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def data(tmp_path: Path, draw: Draw) -> Path:
    """40 images of glass, 20 of paper, 10 of trash, with what else lies in such folders."""
    folder = tmp_path / "data"
    for start, (name, count) in enumerate({"glass": 40, "paper": 20, "trash": 10}.items()):
        for i in range(count):
            draw(folder / name / f"{name}{i:02}.png", 1000 * start + i)
    (folder / "glass" / "Thumbs.db").write_bytes(b"no image")
    (folder / ".ipynb_checkpoints").mkdir()
    return folder


def listed(path: Path) -> dict[str, int]:
    entries = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: int(number) for name, number in entries}


def split(data: Path, output: Path, *more: str) -> int:
    return main(["split", str(data), "--output", str(output), *more])


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line on stderr of a call that was refused."""
    assert code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


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
    assert message in refused(capsys, split(fruits, tmp_path / "out", *more))
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


def test_images_are_hard_links_symlinks_or_copies(data: Path, tmp_path: Path) -> None:
    outs = {flag: tmp_path / (flag or "hard") for flag in ("", "--link", "--copy")}
    for flag, out in outs.items():
        assert split(data, out, *filter(None, [flag])) == 0
    for path in outs[""].glob("train/*/*.png"):
        original = data / path.parent.name / path.name
        copied, linked = (outs[f] / path.relative_to(outs[""]) for f in ("--copy", "--link"))
        assert path.samefile(original)
        assert not path.is_symlink()
        assert linked.is_symlink()
        assert linked.samefile(original)
        assert not copied.samefile(original)
        assert copied.read_bytes() == original.read_bytes()


def test_links_to_links_lead_to_the_image(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert split(data, first, "--link") == 0
    assert split(first / "train", second, "--ratios", "0.5", "0.5") == 0
    assert not any(path.is_symlink() for path in second.glob("*/*/*.png"))
    assert len(list(second.glob("*/*/*.png"))) == 49


def test_the_training_example_takes_what_is_written(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm", reason="training needs the extra train")
    from tools.train.images import load_images

    out = tmp_path / "out"
    assert split(data, out, "--form", "folders", "--link") == 0
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "test", "train", "val"]
    images = load_images(out / "train", 16)
    assert images.classes == ("glass", "paper", "trash")
    assert len(images.images) == 49


def test_blanks_are_for_folders_only(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    draw(data / "glass" / "my glass.png", 77)
    text = refused(capsys, split(data, out))
    assert "my glass.png: the image has a blank in its name" in text
    assert "rename it to my_glass.png" in text
    assert split(data, out, "--form", "folders") == 0
    (data / "glass" / "my glass.png").unlink()
    (data / "glass").rename(data / "玻璃\u3000瓶")  # str.split() cuts at a wide blank too
    capsys.readouterr()
    assert "the folder has a blank in its name" in refused(capsys, split(data, tmp_path / "b"))


def test_chinese_names_are_written_in_utf8(data: Path, tmp_path: Path) -> None:
    (data / "glass").rename(data / "玻璃")
    assert split(data, tmp_path / "out", "--form", "paddleclas") == 0
    labels = (tmp_path / "out" / "label_list.txt").read_bytes()
    assert labels == "0 paper\n1 trash\n2 玻璃\n".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "glass" / "glass00.png").rename(data / "glass" / os.fsdecode(b"\xb2.png"))
    assert "\\udcb2.png: the image's name is not UTF-8" in refused(
        capsys, split(data, tmp_path / "out")
    )


def test_an_existing_output_needs_force_and_must_be_ours(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert split(data, out, "--ratios", "0.5", "0.5") == 0
    capsys.readouterr()
    before = sorted(out.rglob("*"))
    assert "give --force" in refused(capsys, split(data, out))
    assert sorted(out.rglob("*")) == before
    assert split(data, out, "--every", "8", "--force") == 0
    capsys.readouterr()
    assert len(list(out.glob("*/*/*.png"))) == 70
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    assert "not written by this tool" in refused(capsys, split(data, theirs, "--force"))
    assert (theirs / "thesis.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "theirs"]


def test_nothing_is_left_when_an_image_cannot_be_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "glass" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    text = refused(capsys, split(data, tmp_path / "out"))
    assert "gone.png: the file is missing, or a link to nothing" in text
    (data / "glass" / "gone.png").unlink()
    os.mkfifo(data / "glass" / "pipe.png")
    assert "it is no ordinary file" in refused(capsys, split(data, tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ratios", "0.7", "0.2"], "must add up to 1"),
        (["--ratios", "1", "0"], "must add up to 1"),
        (["--ratios", "1.2", "-0.2"], "must add up to 1"),
        (["--ratios", "nan", "0.5"], "must add up to 1"),
        (["--ratios", "0.4", "0.3", "0.2", "0.1"], "two or three numbers"),
        (["--every", "1"], "leaves nothing to train on"),
        (["--every", "8", "--seed", "1"], "leave out --ratios, --seed and"),
        (["--every", "8", "--ratios", "0.5", "0.5"], "leave out --ratios, --seed and"),
        (["--output", "data/out"], "choose another --output"),
        (["--output", "."], "choose another --output"),
        (["--output", "file"], "exists and is no folder"),
        (["--output", "file/out"], "cannot be written"),
    ],
)
def test_what_cannot_be_split_is_reported(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("text")
    assert words in refused(capsys, split(data, Path("out"), *arguments))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["split", "data"], "required: --output"),
        (["split", "data", "--output", "o", "--copy", "--link"], "not allowed with"),
        (["split", "data", "--output", "o", "--ratios", "x", "y"], "invalid float value"),
        (["split", "data", "--output", "o", "--jobs", "0"], "no whole number from 1 on"),
        (["split", "data", "--output", "o", "--form", "coco"], "invalid choice"),
        (["shuffle"], "invalid choice"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_call_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert words in refused(capsys, int(str(stopped.value)))


def test_data_that_are_no_classes_are_reported(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(folder: Path) -> str:
        return refused(capsys, split(folder, tmp_path / "out"))

    assert "there is no folder" in error_of(tmp_path / "nowhere")
    assert "is a file" in error_of(data / "glass" / "glass00.png")
    assert "its images lie in no class" in error_of(data / "glass")
    (tmp_path / "empty").mkdir()
    assert "it has no folders" in error_of(tmp_path / "empty")
    (tmp_path / "empty" / "class").mkdir()
    assert "holds no images" in error_of(tmp_path / "empty")
    draw(data / "wood" / "one.png", 9001)
    draw(data / "wood" / "two.png", 9002)
    assert "wood has too few images of its own: train, val, test need one each" in error_of(data)
    (data / "wood" / "deeper").mkdir()
    assert "holds the folder 'deeper', which is not read" in error_of(data)
    (data / "wood").rename(tmp_path / "wood")
    (data / "metal").mkdir()
    assert "metal: is a class without images" in error_of(data)
    (data / "metal").rmdir()
    assert split(data, tmp_path / "divided") == 0
    capsys.readouterr()
    assert "is split already (train, val, test)" in error_of(tmp_path / "divided")


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
        (RULES + "1: b\n", "put it in quotes"),
        ("glass: no\n", "False is no name of a class; put it in quotes"),
        ("- glass\n", "must hold lines"),
        ("", "must hold lines"),
        ("glass: [\n", "is not YAML"),
        ("glass: a/b\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: ..\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: ' '\npaper: b\ntrash: c\n", "cannot be a folder's name"),
        ("glass: null\npaper: null\ntrash: ~\n", "drops every class"),
    ],
)
def test_rules_that_do_not_fit_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rules: str, words: str
) -> None:
    assert words in refused(capsys, regroup(data, rules, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_that_meet_all_the_same_are_reported(
    data: Path, tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(data / "glass" / "same.png", 1)
    draw(data / "glass" / "paper_same.png", 2)
    draw(data / "paper" / "same.png", 3)
    assert "is called recyclable/paper_same.png too" in refused(
        capsys, regroup(data, RULES, tmp_path / "out")
    )


def test_missing_rules_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["map", str(data), "--rules", "nowhere.yml", "--output", str(tmp_path / "out")])
    assert "there is no nowhere.yml" in refused(capsys, code)


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
    text = refused(capsys, split(data, tmp_path / "three", "--ratios", "0.7", "0.2", "0.1"))
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
    text = refused(capsys, split(tmp_path / "data", tmp_path / "b", "--labels", str(labels)))
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
    text = refused(capsys, split(neu, out, "--form", "paddleclas"))
    assert "every image of evalImageSet, trainImageSet is in another class too" in text
    assert "give --leave-out evalImageSet trainImageSet, or keep each image in one class" in text
    assert not out.exists()
    leave_out = ["--leave-out", "evalImageSet", "trainImageSet"]
    assert split(neu, out, "--form", "paddleclas", *leave_out) == 0
    assert (out / "label_list.txt").read_bytes() == b"0 Cr\n1 Ps\n2 ln\n"
    notes = capsys.readouterr().err
    assert "NEU-CLS has lists already (eval.txt, train.txt), of another split" in notes
    assert "numbered" not in notes
    text = refused(capsys, split(neu, tmp_path / "b", "--leave-out", "evalimageset"))
    assert "NEU-CLS has no class evalimageset to leave out; its folders are Cr, Ps, " in text
    # Even if its list files are gone, and only one of the two folders is there.
    shutil.rmtree(neu / "evalImageSet")
    assert "every image of trainImageSet is in" in refused(capsys, split(neu, tmp_path / "c"))


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
    text = refused(capsys, split(*call, "--force", "--labels", str(labels)))
    assert "has no label Cr; add it, or leave the folder out with --leave-out" in text
    labels.write_text("ln\nPs\nCr\nPs\n")
    text = refused(capsys, split(*call, "--force", "--labels", str(labels)))
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
    assert "the class trash has too few images" in refused(capsys, split(data, tmp_path / "b"))
