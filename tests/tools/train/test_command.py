"""The training tool on small drawn images: it learns, resumes, averages, and exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.inference_yml import read_inference_yml
from tests.python_process import answer_of
from tools.train.__main__ import main

pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")
pytest.importorskip("tqdm", reason="training needs the extra train")

SMALL = ["--size", "32", "--test-resize", "36", "--test-size", "32", "--batch-size", "8"]
TESTED = ["--test-resize", "36", "--test-size", "32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that anything can learn to distinguish: reddish and bluish noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for name, channel in (("blue", 0), ("red", 2)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 80, (40, 48, 3), np.uint8)
                image[..., channel] += 150
                cv2.imwrite(str(folder / split / name / f"{i}.png"), image)
    return folder


def test_a_missing_package_is_reported_with_what_installs_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tools.train.commands", None)
    assert main(["fit", str(data), "--run", "unused"]) == 1
    assert "make setup-dev" in capsys.readouterr().err


def train(root: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.train", *map(str, arguments)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def run(root: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    done = train(root, "fit", data, "--run", folder, "--epochs", 2, "--learning-rate", 0.05, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "Accuracy" in done.stdout
    return folder


def epochs(run: Path) -> list[int]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def test_a_run_leaves_metrics_weights_and_a_report(run: Path) -> None:
    assert epochs(run) == [1, 2]
    for name in ("best.pdparams", "final.pdparams", "last.pdparams", "report.md", "recipe.json"):
        assert (run / name).stat().st_size > 0
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["classes"] == ["blue", "red"]
    assert np.sum(report["confusion"]) == 8


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(root: Path, data: Path, run: Path) -> None:
    arguments = ["fit", data, "--run", run, "--epochs", 3, "--resume", *SMALL]
    done = train(root, *arguments)
    assert done.returncode == 0, done.stderr
    assert epochs(run) == [1, 2, 3]


def test_average_evaluate_and_export(root: Path, data: Path, run: Path, tmp_path: Path) -> None:
    soup = tmp_path / "soup.pdparams"
    done = train(root, "average", run / "best.pdparams", run / "final.pdparams", "--output", soup)
    assert done.returncode == 0, done.stderr
    done = train(root, "evaluate", data, "--weights", soup, *TESTED)
    assert "truth" in done.stdout, done.stderr
    labels = tmp_path / "labels.txt"
    labels.write_text("蓝\n红, dark\n", encoding="utf-8")
    export = tmp_path / "export"
    arguments = ["export", data, "--weights", soup, "--output", export, "--labels", labels]
    done = train(root, *arguments, *TESTED)
    assert done.returncode == 0, done.stderr
    description = read_inference_yml(export / "inference.yml")
    assert description.labels == ("蓝", "红, dark")
    converted = subprocess.run(
        [
            sys.executable,
            "-m",
            "converter",
            "convert",
            export,
            "--no-onnx",
            "--output",
            tmp_path / "bundle",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert converted.returncode == 0, converted.stderr


HELP = """
import contextlib, io, json, os, sys
sys.path.insert(0, "")
from tools.train.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main(["fit", "--help"])
before = "paddle" in sys.modules
with contextlib.redirect_stderr(io.StringIO()):
    main(["average", "none", "--output", "none"])
import paddle
flag = paddle.get_flags("FLAGS_use_stride_kernel")["FLAGS_use_stride_kernel"]
print(json.dumps({"help": out.getvalue(), "imported": before, "stride_kernel": flag}))
"""


def test_help_does_not_wait_for_paddle_and_a_command_sets_its_flag_first(root: Path) -> None:
    found = answer_of(root, HELP)
    assert "--learning-rate" in found["help"]
    assert not found["imported"]
    assert not found["stride_kernel"]


# Its import takes most of the time of a command that ends with an error.
REFUSALS = """
import contextlib, io, json, sys
sys.path.insert(0, "")
from tools.train.__main__ import main
refusals = {}
for name, arguments in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        refusals[name] = [main(arguments), errors.getvalue()]
print(json.dumps(refusals))
"""
REFUSED = {
    "no data": (["fit", "{tmp}/none", "--run", "{tmp}/run"], "there is no folder"),
    "no network": (["fit", "{data}", "--run", "{tmp}/run", "--arch", "nonet"], "has no nonet"),
    "no first weights": (
        ["fit", "{data}", "--run", "{tmp}/run", "--init", "{tmp}/none"],
        "no weights at",
    ),
    "no weights": (["evaluate", "{data}", "--weights", "{tmp}/none"], "no weights at"),
    "other labels": (
        ["export", "{data}", "--weights", "x", "--output", "{tmp}/e", "--labels", "{tmp}/l"],
        "has 3 labels for 2 classes",
    ),
    "broken image": (
        ["fit", "{tmp}/broken", "--run", "{tmp}/run"],
        "broken.jpg cannot be read as an image",
    ),
}


@pytest.fixture(scope="module")
def refusals(root: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code and errors of each command of REFUSED, all of them given to one process."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "l").write_text("a\nb\nc\n", encoding="utf-8")
    for name in ("a", "b"):
        (folder / "broken" / "train" / name).mkdir(parents=True)
        (folder / "broken" / "train" / name / "broken.jpg").write_bytes(b"no image")
    commands = {
        name: [word.format(tmp=folder, data=data) for word in arguments]
        for name, (arguments, _) in REFUSED.items()
    }
    return answer_of(root, REFUSALS, json.dumps(commands))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_reported_in_one_line(refusals: dict[str, Any], name: str) -> None:
    code, errors = refusals[name]
    assert code == 1
    assert errors.splitlines()[-1].startswith("error: ")
    assert REFUSED[name][1] in errors


def test_a_refusal_is_exit_code_1(root: Path, tmp_path: Path) -> None:
    done = train(root, "fit", tmp_path / "none", "--run", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: there is no folder")


MAPPING = """
import sys
sys.path.insert(0, {root!r})
import numpy as np, paddle
from pathlib import Path
from paddle import inference
from tools.train.fluid_weights import load_fluid_weights

export = Path({export!r})
network = paddle.vision.models.shufflenet_v2_x1_0()
assert load_fluid_weights(network, export) == 282
network.eval()
batch = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype("float32")
mapped = paddle.nn.functional.softmax(network(paddle.to_tensor(batch))).numpy()
predictor = inference.create_predictor(inference.Config(str(export)))
feed = predictor.get_input_handle("image")
feed.copy_from_cpu(batch)
predictor.run()
old = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
print(float(np.abs(mapped - old).max()))
"""


def test_the_old_imagenet_weights_give_the_old_answers(root: Path, shared: Path) -> None:
    export = shared / "models" / "imagenet_shufflenetv2_fluid_sep"
    done = subprocess.run(
        [sys.executable, "-c", MAPPING.format(root=str(root), export=str(export))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 1e-5


def test_weights_of_another_architecture_are_refused(root: Path, shared: Path) -> None:
    code = MAPPING.format(
        root=str(root), export=str(shared / "models" / "imagenet_shufflenetv2_fluid_sep")
    ).replace("shufflenet_v2_x1_0", "mobilenet_v2")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "they are not the same architecture" in done.stderr


@pytest.mark.slow
def test_lists_of_the_frameworks_are_trained_on(root: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("green\nred\nblue\n", encoding="utf-8")
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(data / split)
        lines = [
            f"{path.relative_to(data)} {('green', 'red', 'blue').index(path.parent.name)}\n"
            for path in sorted((data / split).glob("*/*.png"))
        ]
        (tmp_path / f"{split}_list.txt").write_text("".join(lines), encoding="utf-8")
    run = tmp_path / "run"
    done = train(
        root, "fit", tmp_path, "--run", run, "--epochs", 2, "--learning-rate", 0.05, *SMALL
    )
    assert done.returncode == 0, done.stderr
    assert "warning: no images of green: never learned" in done.stderr
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    # In the label file's order, and not in that of names.
    assert report["classes"] == ["green", "red", "blue"]
    assert [sum(row) for row in report["confusion"]] == [0, 4, 4]
    out = tmp_path / "export"
    weights = ["--weights", run / "best.pdparams"]
    done = train(root, "export", tmp_path, *weights, "--output", out)
    assert done.returncode == 0, done.stderr
    description = read_inference_yml(out / "inference.yml")
    assert description.labels == ("green", "red", "blue")
    # Sizes are those of the run, which lie beside its weights.
    assert {"ResizeImage", "CropImage"} <= {op.name for op in description.transform_ops}
    assert [dict(op.options) for op in description.transform_ops][:2] == [
        {"resize_short": 36},
        {"size": 32},
    ]
    list_file = tmp_path / "val_list.txt"
    list_file.write_text(list_file.read_text(encoding="utf-8") + "val/red/gone.png 1\n", "utf-8")
    done = train(root, "evaluate", tmp_path, *weights)
    assert done.returncode == 1
    assert "val_list.txt line 9" in done.stderr
    assert "tools.datasets check" in done.stderr


@pytest.mark.slow
def test_an_own_mean_and_deviation_reach_the_service(
    root: Path, data: Path, tmp_path: Path
) -> None:
    from bundle.bundle import load_bundle
    from converter.bundling.convert import ConvertOptions, convert
    from pipeline.stages.preprocess import build_preprocess
    from tools.train.images import centre
    from tools.train.normalization import Normalization
    from tools.train.splits import load_split

    mean, std = (0.25, 0.5, 0.75), (0.2, 0.25, 0.3)
    own = ["--mean", *map(str, mean), "--std", *map(str, std)]
    run, out = tmp_path / "run", tmp_path / "export"
    done = train(root, "fit", data, "--run", run, "--epochs", 1, *own, *SMALL)
    assert done.returncode == 0, done.stderr
    done = train(root, "export", data, "--weights", run / "best.pdparams", "--output", out)
    assert done.returncode == 0, done.stderr
    convert(ConvertOptions(out, tmp_path / "bundle"))
    served = build_preprocess(load_bundle(tmp_path / "bundle").description.transform_ops)
    val = load_split(data, "val", 36)
    for path, image in zip(val.paths, val.images, strict=True):
        file = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        trained = Normalization(mean, std)([centre(image, 36, 32)])[0]
        assert np.abs(served(file) - trained).max() < 1e-5


@pytest.mark.slow
def test_a_run_ends_where_nothing_gets_better_and_draws_its_curves(
    root: Path, data: Path, tmp_path: Path
) -> None:
    # A rate of nearly nothing: no epoch after the first can be better.
    flags = ["--learning-rate", 1e-9, "--warm-up-epochs", 0, "--early-stop", 2, "--epochs", 9]
    done = train(root, "fit", data, "--run", tmp_path, *flags, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "stopped: nothing better in 2 epochs" in done.stdout
    assert epochs(tmp_path) == [1, 2, 3]
    curves = cv2.imread(str(tmp_path / "curves.png"))
    assert curves.shape[0] > 300
    # The point of the best epoch is drawn in red.
    blue, green, red = np.moveaxis(curves.astype(int), -1, 0)
    assert ((red > 180) & (green < 80) & (blue < 80)).any()
