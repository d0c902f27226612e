"""`python -m tools.evaluation`: through the service it counts what it counts through the bundle.

And what the service says where no score reaches its threshold.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import RpcClient
from client.rpc_client import main as rpc_client
from protocol.errors import ServingError
from tests.patience import PATIENCE_S
from tools.evaluation.__main__ import main

CLASSES = """
cardboard: 可回收物/纸板
glass: 可回收物/玻璃
metal: 可回收物/金属
paper: 可回收物/纸张
plastic: 可回收物/塑料
trash: 其他垃圾/其他
"""
RAW = {"Content-Type": "image/jpeg"}
Start = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def unsure(start_service: Start, root: Path) -> Any:
    """The embedded model behind a threshold that only two of the sample images reach."""
    config = root / "configs" / "waste.yml"
    options = ("op.waste.concurrency=1", "op.waste.threshold=0.9")
    with start_service(config, *options) as service:
        yield service


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    file = tmp_path / "classes.yml"
    file.write_text(CLASSES, encoding="utf-8")
    return file


@pytest.fixture
def samples(root: Path, tmp_path: Path) -> Path:
    for image in (root / "examples" / "images").glob("*.jpg"):
        own = tmp_path / "data" / image.name.partition("_")[0]
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, own)
    return tmp_path / "data"


def answers(report: Path, data: Path, *arguments: object) -> list[dict[str, str]]:
    assert main([*map(str, (data, *arguments)), "--report", str(report), "--json"]) in (0, 1)
    with (report / "answers.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_all_roads(service: Any, root: Path, data: Path, classes: Path, report: Path) -> None:
    roads = (
        ("--bundle", root / "serving_model" / "waste"),
        ("--url", service.url, "--service", "waste"),
        ("--endpoint", service.endpoint, "--service", "waste", "--jobs", 8),
    )
    direct, http, rpc = (answers(report, data, *road, "--classes", classes) for road in roads)
    for served in (http, rpc):
        assert len(served) == len(direct)
        for ours, theirs in zip(direct, served, strict=True):
            scores = [float(row.pop("score") or "nan") for row in (dict(ours), dict(theirs))]
            assert scores[1] == pytest.approx(scores[0], abs=1e-5, nan_ok=True)
            for column in ("picture", "truth", "answer", "right", "error"):
                assert theirs[column] == ours[column]


def test_service_and_bundle_agree_on_the_sample_images(
    unsure: Any, root: Path, samples: Path, classes: Path, tmp_path: Path
) -> None:
    # a bad image too; the threshold of this service does not change what is measured
    (samples / "glass" / "bad.jpg").write_text("no image", encoding="utf-8")
    check_all_roads(unsure, root, samples, classes, tmp_path / "report")


@pytest.mark.slow
def test_service_and_bundle_agree_on_the_validation_images(
    waste: Any, root: Path, shared: Path, classes: Path, tmp_path: Path
) -> None:
    data = shared / "data" / "waste" / "val"
    if not data.is_dir():
        pytest.skip(f"no validation images at {data}")
    check_all_roads(waste, root, data, classes, tmp_path / "report")


def test_a_wrong_name_of_a_service_is_one_line(
    unsure: Any, samples: Path, classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, address in (("--url", unsure.url), ("--endpoint", unsure.endpoint)):
        call = [str(samples), "--classes", str(classes), option, address, "--service", "wast"]
        assert main(call) == 2
        message = capsys.readouterr().err
        assert "no service 'wast'" in message
        assert message.count("\n") == 1


def test_a_service_that_goes_away_is_one_line(
    start_service: Start, root: Path, samples: Path, classes: Path, capsys: pytest.CaptureFixture
) -> None:
    with start_service(root / "configs" / "waste.yml", "op.waste.concurrency=1") as service:
        url = service.url
        call = [str(samples), "--classes", str(classes), "--url", url]
        assert main(call) == 0
        assert service.stop() == 0
    capsys.readouterr()
    assert main(call) == 2
    assert "is the service running?" in capsys.readouterr().err


def test_no_category_where_none_reaches_the_threshold(unsure: Any, root: Path) -> None:
    images = [
        root / "examples" / "images" / f"{name}.jpg" for name in ("glass_bottle", "metal_can")
    ]
    with HttpClient(unsure.url) as http, RpcClient(unsure.endpoint) as rpc:
        for client in (http, rpc):
            sure, not_sure = (client.classify(image) for image in images)
            assert [category.label for category in sure] == ["可回收物/玻璃"]
            assert not_sure == ()
            # the caller's own threshold goes before the service's
            (below,) = client.classify(images[1], threshold=0)
            assert below.score < 0.9
            results = [answer.result for answer in client.classify_many(images)]
            assert not any(isinstance(result, ServingError) for result in results)


def test_unsure_on_the_wire_is_null_and_no_error(unsure: Any, root: Path) -> None:
    image = (root / "examples" / "images" / "metal_can.jpg").read_bytes()
    answer = httpx.post(
        f"{unsure.url}/waste/prediction", content=image, headers=RAW, timeout=PATIENCE_S
    )
    assert answer.status_code == 200
    fields = answer.json()
    assert fields["err_no"] == 0
    assert dict(zip(fields["key"], fields["value"], strict=True)) == {
        "label": "[null]",
        "prob": "[null]",
        "topk": "[[]]",
    }


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_the_clients_print_that_none_reaches_the_threshold(
    unsure: Any, in_process: Callable[..., Any], root: Path, wire: str
) -> None:
    main, *address = {
        "http": (http_client, "--url", unsure.url),
        "rpc": (rpc_client, "--endpoint", unsure.endpoint),
    }[wire]
    image = root / "examples" / "images" / "metal_can.jpg"
    for extra, shown in (
        ([], "none reaches the threshold"),
        (["--json"], '"topk": [], "error": null'),
    ):
        done = in_process(main, image, *address, *extra)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
