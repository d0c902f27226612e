"""What lies beside weights decides what they are: network, classes, sizes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.inference_yml import read_inference_yml

pytest.importorskip("tqdm", reason="training needs the extra train")
paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")

from tools.train.errors import DataError  # noqa: E402
from tools.train.recipe import Recipe  # noqa: E402
from tools.train.run_record import RunRecord, read_record, record_beside  # noqa: E402

pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:paddle\.")

ARCH = "mobilenet_v3_small"
SMALL = ["--size", "32", "--test-resize", "36", "--test-size", "32", "--batch-size", "8"]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`tools.train.main`, in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # train.py puts the root first
    from tools.train.__main__ import main

    def run(*arguments: Any) -> int:
        # The optimizer's state is named by counters, which are new in a new process; as here.
        with paddle.utils.unique_name.guard():
            return main([str(argument) for argument in arguments])

    return run


def make_data(folder: Path, *classes: str) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                image = rng.integers(0, 255, (40, 48, 3), np.uint8)
                cv2.imwrite(str(folder / split / name / f"{number}.png"), image)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data", "a", "b")


@pytest.fixture
def run(tmp_path: Path, data: Path, train: Any) -> Path:
    assert train("fit", data, "--run", tmp_path / "run", "--arch", ARCH, "--epochs", 1, *SMALL) == 0
    return tmp_path / "run"


def test_the_network_is_known_to_all_that_follows(
    data: Path, run: Path, train: Any, tmp_path: Path
) -> None:
    best = run / "best.pdparams"
    assert train("fit", data, "--run", run, "--resume", "--epochs", 2) == 0
    assert train("evaluate", data, "--weights", best) == 0
    assert train("export", data, "--weights", best, "--output", tmp_path / "out") == 0
    assert read_inference_yml(tmp_path / "out" / "inference.yml").model_name == ARCH
    soup = tmp_path / "soup.pdparams"
    assert train("average", best, run / "final.pdparams", "--output", soup) == 0
    assert train("evaluate", data, "--weights", soup) == 0


@pytest.mark.parametrize("command", ["evaluate", "export", "fit"])
@pytest.mark.parametrize("source", ["best", "soup"])
def test_weights_are_not_given_the_names_of_other_classes(
    run: Path, train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    command: str, source: str,
) -> None:  # fmt: skip
    weights = run / "best.pdparams"
    if source == "soup":
        weights = tmp_path / "soup.pdparams"
        assert train("average", run / "best.pdparams", "--output", weights) == 0
    other = make_data(tmp_path / "other", "b", "c")
    flags = {
        "evaluate": ["--weights", weights],
        "export": ["--weights", weights, "--output", tmp_path / "out"],
        "fit": ["--run", run, "--resume", "--epochs", 2],
    }[command]
    assert train(command, other, *flags) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert (
        "other classes" in message or "trained on the classes a, b, and these are b, c" in message
    )
    assert not (tmp_path / "out").exists()


def test_a_record_without_network_and_classes_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"epochs": 3, "drop_epochs": [1, 2]}', "utf-8")
    record = record_beside(tmp_path / "best.pdparams")
    assert record == RunRecord(Recipe(epochs=3, drop_epochs=(1, 2)))
    record.require_classes(("x", "y"), tmp_path)
    assert record_beside(tmp_path / "none" / "best.pdparams") is None


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = RunRecord(Recipe(seed=4), ARCH, ("可回收物/玻璃", "b"))
    record.save(tmp_path / "recipe.json")
    assert read_record(tmp_path / "recipe.json") == record


@pytest.mark.parametrize("text", ["{", "[]", '{"epoch": 3}', "\udcff"])
def test_a_damaged_record_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"recipe\.json is damaged"):
        read_record(tmp_path / "recipe.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "googlenet"], "googlenet has several outputs"),
        (["--arch", "alexnet", "--size", 16], "alexnet cannot take images of 16 x 16"),
        (["--arch", "nonet"], "has no nonet"),
        (["--rotation", "nan"], "--rotation nan must be from 0 to 180"),
        (["--head-factor", -1], "--head-factor -1.0 must be from 0 on"),
        (["--early-stop", -3], "--early-stop -3 must be from 0 on"),
        (["--drop-epochs", 8, 6], "--drop-epochs 8 6 must rise"),
    ],
)
def test_what_no_run_can_be_made_with_is_reported_before_an_image_is_read(
    train: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[Any],
    message: str,
) -> None:
    data = make_data(tmp_path / "data", "a", "b")
    for image in data.rglob("*.png"):
        image.write_bytes(b"unreadable")
    assert train("fit", data, "--run", tmp_path / "run", *arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_threads_are_counted_from_one(train: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train("fit", tmp_path, "--run", tmp_path / "run", "--threads", 0)


def test_a_damaged_checkpoint_is_reported(
    data: Path, run: Path, train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "last.pdparams").write_bytes(b"cut off")
    assert train("fit", data, "--run", run, "--resume", "--epochs", 2) == 1
    assert "last.pdparams is damaged" in capsys.readouterr().err


def test_a_file_where_a_folder_should_be_is_reported(
    data: Path, train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    assert train("fit", data, "--run", tmp_path / "taken", "--epochs", 1, *SMALL) == 1
    assert "taken: File exists" in capsys.readouterr().err


def test_an_interrupted_run_says_how_it_goes_on(
    data: Path, train: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from tools.train.trainer import Trainer

    def interrupted(_: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_epoch", interrupted)
    assert train("fit", data, "--run", tmp_path / "run", *SMALL) == 130
    assert "--resume goes on after the last whole epoch" in capsys.readouterr().err


def test_what_notebooks_and_archives_leave_behind_is_no_class(tmp_path: Path) -> None:
    from tools.train.splits import classes_of

    data = make_data(tmp_path / "data", "a", "b")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (data / "train" / name).mkdir()
    assert classes_of(data) == ("a", "b")


def test_an_image_that_the_service_refuses_is_not_trained_on(tmp_path: Path) -> None:
    from tools.train.splits import load_split

    data = make_data(tmp_path / "data", "a", "b")
    whole = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    (data / "train" / "a" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.jpg cannot be read as an image: .*cut off"):
        load_split(data, "train", 36)
