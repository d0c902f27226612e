"""The deployments: their files fit together, and `make deployments` sees what is wrong."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("paddle", reason="the models run on the extra cpu or gpu")

from bundle.labels import read_labels
from converter.describing.presets import PRESETS
from examples.deployments.__main__ import main
from examples.deployments.deployment import Deployment, Form, names, read_deployment
from examples.deployments.errors import DeploymentError
from examples.deployments.exporting import ENVIRONMENTS, Exporter
from examples.deployments.measuring import Figures, measure
from examples.deployments.table import BEGIN, END, Row, keep, kept, markdown, put_into
from examples.deployments.trying import (
    Trial,
    evaluate,
    make_bundle,
    try_service,
    write_truth,
)
from pipeline.classifier import Classifier, ClassifierSettings, EncodedImage
from pipeline.settings.config import load_settings

FIVE = ["garbage265", "garbage40", "peach4", "steel6", "waste4"]


def test_there_are_the_five() -> None:
    assert names() == FIVE


@pytest.mark.parametrize("name", FIVE)
def test_its_files_fit_together(name: str, root: Path) -> None:
    deployment = read_deployment(name)
    assert len(read_labels(deployment.labels)) == deployment.classes
    assert {form.name for form in deployment.forms} >= {"pir", "pdmodel"}
    for form in deployment.forms:
        for file in form.beside:
            assert (deployment.folder / file).is_file()
        for word in form.convert:
            assert "/" not in word or (root / word).is_file()
    assert (deployment.folder / "README.md").is_file()
    assert (deployment.folder / "README.zh-CN.md").is_file()


@pytest.mark.parametrize("name", FIVE)
def test_its_configuration_is_read(name: str, root: Path) -> None:
    deployment = read_deployment(name)
    # Bundles of these are not in the repository; the embedded one stands in their place.
    bundle = root / "serving_model" / "waste"
    override = f"op.{name}.local_service_conf.model_config={bundle}"
    settings = load_settings(deployment.config, [override])
    assert [op.name for op in settings.ops] == [name]


def test_forty_labels_are_the_same_in_both_forms(root: Path) -> None:
    lines = read_labels(root / "labels" / "garbage40.txt")
    rule = root / "examples" / "garbage40" / "garbage_classify_rule.json"
    assert read_labels(rule) == lines
    assert (lines[0], lines[23], lines[39]) == (
        "其他垃圾/一次性快餐盒", "可回收物/易拉罐", "有害垃圾/过期药物",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["garbage40", "garbage265"])
def test_labels_have_one_of_the_four_groups(name: str, root: Path) -> None:
    labels = read_labels(root / "labels" / f"{name}.txt")
    groups = {label.split("/")[0] for label in labels}
    assert groups == {"其他垃圾", "厨余垃圾", "可回收物", "有害垃圾"}
    assert len(set(labels)) == len(labels)


def test_the_tutorials_numbers_are_those_of_the_preset() -> None:
    described = {op: options for one in read_deployment("garbage40").transform_ops
                 for op, options in one.items()}  # fmt: skip
    known = {operator.name: operator.options for operator in PRESETS["garbage40"]}
    assert described["ResizeImage"]["size"] == list(known["ResizeImage"]["size"])
    for key in ("mean", "std"):
        assert described["NormalizeImage"][key] == list(known["NormalizeImage"][key])


def test_an_unknown_deployment_is_reported() -> None:
    with pytest.raises(DeploymentError, match="there are garbage265, garbage40, peach4"):
        read_deployment("peach5")


@pytest.fixture(scope="module")
def images(root: Path) -> list[Path]:
    return sorted((root / "examples" / "images").glob("*.jpg"))[:3]


@pytest.fixture(scope="module")
def waste(root: Path) -> Deployment:
    """The embedded model as a deployment of its own: it has a configuration and labels too."""
    operators = read_deployment("peach4").transform_ops
    return Deployment("waste", "shufflenet_v2_x1_0", 6, "none", operators, (Form("pir"),))


@pytest.fixture(scope="module")
def direct(root: Path, images: list[Path]) -> dict[str, list[float]]:
    settings = ClassifierSettings(str(root / "serving_model" / "waste"), topk=6)
    classifier = Classifier.from_settings(settings)
    answers = classifier.classify([EncodedImage(path.read_bytes()) for path in images])
    scores = {}
    for path, answer in zip(images, answers, strict=True):
        assert not isinstance(answer, Exception)
        by_class = {category.class_id: category.score for category in answer}
        scores[str(path)] = [by_class[i] for i in range(6)]
    return scores


def test_a_service_that_answers_right_passes(
    root: Path,
    waste: Deployment,
    images: list[Path],
    direct: dict[str, list[float]],
    tmp_path: Path,
) -> None:
    trial = try_service(waste, root / "serving_model" / "waste", images, direct, tmp_path)
    assert trial.images == 3
    assert max(trial.http_difference, trial.rpc_difference) < 1e-5
    report = json.loads((tmp_path / "truth" / "waste" / "report.json").read_text(encoding="utf-8"))
    assert (report["accuracy_top1"]["right"], report["answered"]) == (3, 3)


def test_another_score_is_seen(
    root: Path,
    waste: Deployment,
    images: list[Path],
    direct: dict[str, list[float]],
    tmp_path: Path,
) -> None:
    wrong = {**direct, str(images[1]): [score + 0.01 for score in direct[str(images[1])]]}
    with pytest.raises(DeploymentError, match=rf"{images[1].name}: a score differs by 0\.01"):
        try_service(waste, root / "serving_model" / "waste", images, wrong, tmp_path)


def test_another_count_is_seen(
    root: Path,
    waste: Deployment,
    images: list[Path],
    direct: dict[str, list[float]],
    tmp_path: Path,
) -> None:
    truth = tmp_path / "truth.txt"
    write_truth(truth, images, {**direct, str(images[0]): [0, 0, 0, 0, 0, 1]})
    road = ["--bundle", str(root / "serving_model" / "waste")]
    with pytest.raises(DeploymentError, match="2 of 3 best classes"):
        evaluate(waste, truth, road, tmp_path)


def test_other_labels_are_seen(
    root: Path,
    waste: Deployment,
    images: list[Path],
    direct: dict[str, list[float]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(Deployment, "labels", root / "labels" / "steel6.txt")
    with pytest.raises(DeploymentError, match="labels are not those of the label file"):
        try_service(waste, root / "serving_model" / "waste", images, direct, tmp_path)


def test_a_failed_command_is_reported_and_logged(waste: Deployment, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"exit code 1 of: .* convert"):
        make_bundle(waste, Form("pir"), tmp_path / "nothing", [tmp_path / "x.jpg"], tmp_path)
    log = (tmp_path / "logs" / "waste.log").read_text(encoding="utf-8")
    assert "nothing" in log.splitlines()[0]
    assert "error: " in log


@pytest.mark.slow
def test_the_embedded_model_is_measured(root: Path, waste: Deployment, images: list[Path]) -> None:
    bundle = root / "serving_model" / "waste"
    figures = measure(waste, bundle, images, seconds=0.5, rounds=1)
    assert figures.wrong == 0
    assert min(dataclasses.astuple(figures)[:-1]) > 0
    assert 4 < figures.bundle_mib < 10
    # A service and two workers, each with Paddle in it.
    assert figures.memory_mib > 200


def test_images_are_saved_as_the_deployment_wants(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path, tmp_path / "no-samples", 4)
    (first, *_) = exporter.images(read_deployment("steel6"))
    assert first.suffix == ".bmp"
    # Eight bits a pixel: the field biBitCount of a BMP's header.
    assert int.from_bytes(first.read_bytes()[28:30], "little") == 8
    assert exporter.images(read_deployment("peach4"))[0].suffix == ".jpg"


def test_only_what_a_deployment_made_is_discarded(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path, tmp_path / "no-samples")
    for name in ("peach4/pir-1/a", "bundles/peach4-pir/a", "bundles/steel6-pir/a", "steel6/b"):
        (tmp_path / name).mkdir(parents=True)
    exporter.discard(read_deployment("peach4"))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")}
    assert left == {"bundles/steel6-pir", "steel6/b"}


class FullDisk(Exporter):
    """Its tool writes what fits, and says nothing, as Paddle does."""

    def _tool(self, form: str, deployment: Deployment, *arguments: str | Path) -> None:
        output = Path(arguments[arguments.index("--output") + 1])
        if arguments[0] == "random":
            output.parent.mkdir(parents=True)
            output.touch()
            return
        output.mkdir(parents=True)
        whole = Path(__file__).parents[2] / "serving_model/waste/serving_server/inference.pdiparams"
        (output / "inference.pdiparams").write_bytes(whole.read_bytes()[:100_000])

    def _python(self, form: str) -> Path:
        return Path("python")


def test_a_full_disk_is_reported_and_leaves_no_export(tmp_path: Path) -> None:
    deployment = read_deployment("peach4")
    (form,) = (form for form in deployment.forms if form.name == "pir")
    with pytest.raises(DeploymentError, match=r"is truncated .* MiB of disk are free"):
        FullDisk(tmp_path, tmp_path).export(deployment, form)
    assert not [path for path in (tmp_path / "peach4").glob("pir-*") if path.suffix != ".part"]


def test_a_missing_environment_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exporter = Exporter(tmp_path, tmp_path, 2, {"pir": "none", "pdmodel": "none"})
    deployment = read_deployment("peach4")
    with pytest.raises(DeploymentError, match="run `make paddleclas-env` first"):
        exporter.export(deployment, deployment.forms[0])
    assert main(["peach5"]) == 1
    assert "error: there is no deployment peach5" in capsys.readouterr().err


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    row = Row(read_deployment("peach4"), Form("pir"), Trial(tmp_path, 24, 1e-6, 2e-6), None)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    put_into(page, markdown([row]))
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| peach4 | PPLCNetV2_base, 224 px | inference.json | 24 | 1.0e-06 | 2.0e-06 |" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(DeploymentError, match="has no lines"):
        put_into(page, "x")


def test_what_was_measured_apart_comes_into_one_table(tmp_path: Path) -> None:
    steel, peach = read_deployment("steel6"), read_deployment("peach4")
    figures = Figures(60.0, 100.0, 90.0, 80.0, 10.0, 20.0, 30.0, 500.0, 90.0, 3.0, 0)
    rows = [
        Row(steel, steel.forms[1], Trial(tmp_path, 24, 1e-6, 1e-6), figures),
        Row(peach, peach.forms[0], Trial(tmp_path, 24, 1e-5, 1e-5), None),
    ]
    for row in rows:
        keep(row, tmp_path)
    older = {"deployment": "waste4", "form": "pir", "figures": {"rate": 1},
             "trial": {**dataclasses.asdict(rows[0].trial), "bundle": ""}}  # fmt: skip
    (tmp_path / "waste4-pir.json").write_text(json.dumps(older), encoding="utf-8")
    assert kept(tmp_path) == rows[::-1]  # in the order of names
    table = markdown(kept(tmp_path))
    assert "| steel6 | inference.json | 60.0 | 100.0 | 90.0 | 80.0 | 0.90 |" in table


@pytest.fixture(scope="module", params=sorted(ENVIRONMENTS))
def paddleclas(request: pytest.FixtureRequest, root: Path) -> Path:
    python: Path = root / ENVIRONMENTS[request.param] / "bin" / "python"
    if not python.is_file():
        pytest.skip("PaddleClas is not here; make paddleclas-env makes its environments")
    return python


@pytest.fixture(scope="module")
def tool(paddleclas: Path, root: Path) -> Callable[..., str]:
    """Run examples/with_paddleclas.py; return what it wrote, or the last line of its errors."""

    def run(*arguments: str | Path) -> str:
        command = [paddleclas, "examples/with_paddleclas.py", *arguments]
        done = subprocess.run(
            [str(word) for word in command], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stderr.strip().splitlines()[-1] if done.returncode else done.stdout.strip()

    return run


NETWORK = ["PPLCNet_x0_25", "--size", "64"]


@pytest.fixture(scope="module")
def weights(tool: Callable[..., str], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "random.pdparams"
    images = ["--pictures", root / "examples" / "images"]
    message = tool("random", *NETWORK, "--output", file, *images, "--classes", "4")
    assert message.startswith("wrote ")
    return file


@pytest.mark.slow
def test_paddleclas_exports_and_scores(
    tool: Callable[..., str], weights: Path, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    exported = tool("export", *NETWORK, "--output", out, "--weights", weights, "--classes", "4")
    assert "inference.pdiparams" in exported
    (graph,) = [path for path in out.iterdir() if path.suffix in (".json", ".pdmodel")]
    operators = tmp_path / "operators.json"
    operators.write_text(json.dumps([{"ResizeImage": {"size": [64, 64]}}, {"ToCHWImage": None}]))
    answers = tmp_path / "scores.json"
    image = root / "examples" / "images" / "glass_jar.jpg"
    tool("score", graph, out / "inference.pdiparams", image, "--operators", operators,
         "--output", answers)  # fmt: skip
    (scores,) = json.loads(answers.read_text()).values()
    assert len(scores) == 4
    assert sum(scores) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("paddleclas", ["pir"], indirect=True)  # the other says it the same way
def test_paddleclas_says_what_is_wrong(
    tool: Callable[..., str], weights: Path, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    images = ["--pictures", root / "examples" / "images"]
    unknown = ["PPLCNet_x9", "--classes", "4", *images, "--output", tmp_path / "other.pdparams"]
    assert "has no PPLCNet_x9" in tool("random", *unknown)
    given = ["--output", out, "--weights", weights]
    message = tool("export", *NETWORK, *given, "--classes", "5")
    assert "another number of --classes" in message
    message = tool("export", "PPLCNet_x0_35", *NETWORK[1:], *given, "--classes", "4")
    assert message.startswith("error: ")
    missing = ["--output", out, "--weights", tmp_path / "none"]
    assert "give a trained .pdparams" in tool("export", *NETWORK, *missing, "--classes", "4")


@pytest.mark.slow
def test_branches_that_are_for_training_only_are_folded(
    paddleclas: Path, root: Path, tmp_path: Path
) -> None:
    """As PaddleClas' exporter folds them: 168 parameters of PP-LCNetV2 remain of 262."""
    network = ["PPLCNetV2_base", "--classes", "4", "--size", "64"]
    weights, out = tmp_path / "random.pdparams", tmp_path / "export"
    for arguments in (
        ["random", *network, "--pictures", "examples/images", "--output", weights],
        ["export", *network, "--weights", weights, "--output", out],
    ):
        command = [paddleclas, "examples/with_paddleclas.py", *arguments]
        subprocess.run([str(word) for word in command], cwd=root, capture_output=True, check=True)
    inspected = subprocess.run(
        [sys.executable, "-m", "converter", "inspect", str(out), "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(inspected.stdout)["parameters"] == 168
