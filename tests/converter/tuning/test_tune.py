"""tune with real processes, and runtimes of which is known how fast they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.tuning import read_tuning
from converter.bundling.convert import ConvertOptions, convert
from tests.patience import PATIENCE_S

SLEEPERS = Path(__file__).parent / "sleepers"
ROOT = Path(__file__).resolve().parents[3]

Measure = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def bundle(make_export: Callable[..., Path], tmp_path: Path) -> Path:
    convert(ConvertOptions(make_export("pdmodel"), tmp_path / "tiny"))
    return tmp_path / "tiny"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images in folders by the number of their class."""
    random = np.random.default_rng(1)
    for number in range(12):
        folder = tmp_path / "images" / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (40, 60, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels)
    return tmp_path / "images"


def _environment(names: str) -> dict[str, str]:
    path = os.pathsep.join([str(SLEEPERS), str(ROOT)])
    return {**os.environ, "SLEEPERS": names, "PYTHONPATH": path, "COLUMNS": "200"}


# The clock counts readings: the schedule is the same on a slow machine. A hang ends by real time.
_MEASURE = """
import itertools, json, sys
from pathlib import Path
from bundle import load_bundle
from converter.tuning.crew import Limits
from converter.tuning.report import as_json, print_table
from converter.tuning.tune import TuneOptions, prepare, tune

ticks = itertools.count(0.0, 0.1)
limits = Limits(float(sys.argv[3]), float(sys.argv[3]))
options = TuneOptions(Path(sys.argv[1]), Path(sys.argv[2]), 6.0, limits, lambda: next(ticks))
tuned = prepare(load_bundle(options.bundle_dir), options)
tune(tuned, options, lambda now, left: None)
print_table(tuned, None)
print(json.dumps(as_json(tuned, None), allow_nan=False))
"""


@pytest.fixture
def measure(bundle: Path, images: Path) -> Measure:
    """Tune with these runtimes, the first being the export's own: what JSON and the table say."""

    def run(names: str, limit_s: float = PATIENCE_S) -> tuple[dict[str, Any], str]:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(bundle), str(images), str(limit_s)],
            cwd=ROOT,
            env=_environment(names),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        table, _, last = done.stdout.rstrip().rpartition("\n")
        return json.loads(last), table

    return run


def _of(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in result["candidates"] if row["backend"] == name]


ONE_FAST = "Slow,Wrong,Crashing,Raising,Fast"


def test_the_fastest_is_chosen_in_batches_and_the_others_say_why_not(measure: Measure) -> None:
    """One run: each start of a worker takes a second."""
    result, table = measure(ONE_FAST)

    assert result["untuned"]["backend"] == "slow"
    assert result["chosen"]["backend"] == "fast"
    assert result["chosen"]["batch_size"] > 1  # a run takes as long whatever its size
    assert result["times_untuned"] > 1
    assert "times the images a second of untuned (slow export" in table
    assert "backend: fast" in table

    wrong = _of(result, "wrong")
    assert wrong[0]["images_per_s"] > 0
    assert all("differ" in row["refused"] for row in wrong if row["images_per_s"])
    assert all(row["rounds"] == [] for row in wrong)
    assert "not chosen: scores differ by" in table

    assert any("SIGSEGV" in row["error"] for row in _of(result, "crashing"))
    assert any("MemoryError: no room" in row["error"] for row in _of(result, "raising"))
    assert "SIGSEGV" in table

    assert result["images"]["labelled"]
    assert 0 <= _of(result, "fast")[0]["agreement"]["top1"] <= 1
    assert "top-1" in table


def test_untuned_wins_where_nothing_is_faster(measure: Measure) -> None:
    result, table = measure("Fast,Slow")
    assert result["chosen"] == result["untuned"] or result["chosen"]["backend"] == "fast"
    assert {row["backend"] for row in result["candidates"]} == {"fast", "slow"}
    assert "Chosen: fast export" in table


@pytest.mark.slow
def test_one_that_hangs_is_ended_and_the_rest_goes_on(measure: Measure) -> None:
    result, table = measure("Slow,Hanging,Fast", 10.0)
    assert any("hangs" in row["error"] for row in _of(result, "hanging"))
    assert "hangs" in table
    assert result["chosen"]["backend"] == "fast"


def _command(bundle: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "converter", "tune", str(bundle), *map(str, more)]


def _run(bundle: Path, *more: object, names: str = "Slow,Fast") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(bundle, *more),
        cwd=ROOT,
        env=_environment(names),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_the_command_writes_the_choice_and_an_image_of_the_table(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "tuning.svg"
    done = _run(bundle, "--images", images, "--time", 5, "--json", "--plot", plot)
    assert done.returncode == 0, done.stderr
    assert "first look: slow export" in done.stderr
    result = json.loads(done.stdout)
    tuning = read_tuning(bundle)
    assert tuning is not None
    assert tuning.choice.backend == "fast"
    assert result["written"] == str(bundle / "tuning.yml")
    assert tuning.versions["fast"] == "Fast 1.0 on cpu"
    assert len(tuning.candidates) == len(result["candidates"])
    assert plot.read_text(encoding="utf-8").count("<svg") == 1


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_all_processes_and_shows_what_was_measured(
    bundle: Path, images: Path, number: signal.Signals
) -> None:
    before = sorted(bundle.iterdir())
    process = subprocess.Popen(
        _command(bundle, "--images", images, "--time", 600),
        cwd=ROOT,
        env=_environment("Slow,Fast"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "in turns" in line:
            break
    workers = _workers_of(process.pid)
    assert workers
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1].startswith(f"error: interrupted by {number.name}")
    assert "nothing is chosen and nothing was written" in stdout
    assert "Fast" in stdout
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    assert sorted(bundle.iterdir()) == before


def _workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        (["--images", "{tmp}/none"], "there is no such file or folder"),
        (["--images", "{tmp}/empty"], "holds no images"),
        (["--images", "{tmp}/damaged"], "none of the images can be read"),
        (["--plot", "{tmp}/plot.txt"], "ends in .png or .svg"),
        (["--plot", "{tmp}/none/plot.png"], "there is no folder"),
    ],
)
def test_bad_input_is_an_error_of_one_line(
    bundle: Path, tmp_path: Path, more: list[str], cause: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 damaged")
    done = _run(bundle, *[part.format(tmp=tmp_path) for part in more], "--time", 5)
    assert done.returncode == 1
    assert cause in done.stderr.splitlines()[-1]
    assert read_tuning(bundle) is None


def test_unreadable_images_are_left_out_and_images_of_one_class_noted(
    bundle: Path, images: Path
) -> None:
    for number in ("1", "2"):
        for file in (images / number).iterdir():
            file.unlink()
    (images / "0" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 damaged")
    done = _run(bundle, "--images", images, "--time", 5, "--apply", "no")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "1 unreadable, and left out" in text
    assert "all images are of one class" in text
    assert "Nothing was written (--apply no)" in text
    assert read_tuning(bundle) is None
