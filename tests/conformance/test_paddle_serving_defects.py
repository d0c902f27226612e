"""Where Paddle Serving 0.9 is wrong: ours is right, and where it is cheap, 0.9 is seen to be wrong.

| | defect of 0.9 | shown by |
|---|---|---|
| 1 | bytes of a request are unpickled | here |
| 2 | `retry` of an op is ignored | here; engine/test_faults.py |
| 3 | `dag.retry` above 1 ends in a server that hangs | here: it has no effect, and 0.9 never gets it; e2e/test_faults.py: test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing |
| 4 | `timeout` with a request of several arrays: IndexError | here |
| 5 | a feed alias that is not the name; fetches by position | here; predictors/test_paddle_inference.py |
| 6 | with `build_dag_each_worker` 4 MB and localhost only | here (large requests); worker processes are the only mode |
| 7 | answers over 4 MB fail over HTTP | here |
| 8 | no deadline, no cancellation, a full queue blocks | pipeline/engine/test_cancellation.py: test_a_deadline_in_a_running_batch_ends_only_its_own_request; pipeline/engine/test_lifecycle.py: test_a_full_queue_is_told_at_once_and_admits_all_or_nothing; pipeline/hosts/test_http_app.py: test_a_client_that_goes_away_cancels_its_request; pipeline/hosts/test_rpc_servicer.py: test_a_caller_that_goes_away_cancels_its_request, test_the_deadline_of_the_caller_is_handed_on |
| 9 | one shape that differs fails the batch | here; engine/test_faults.py: a bad picture fails alone |
| 10 | /metrics needs the tracer and counts wrongly | here; e2e/test_monitoring.py: test_metrics_count_what_clients_saw |
| 11 | `--show_proto False` is true | here |
| 12 | PipelineClient: changes its caller's dict, knows no names | here; client/test_faults.py |
| 13 | `inference.json` is unknown, and kills the process group | here; e2e/test_real_models.py |
| 14 | top-1 only, Python reprs, commas cut out of labels | here; test_paddle_serving_clients.py |
"""  # noqa: E501 - a table

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from bundle import load_bundle
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from converter.__main__ import main as convert
from pipeline.hosts.paddle_serving.config import plan_of
from pipeline.observation.metrics import Metrics
from pipeline.settings.config import load_settings
from protocol.errors import InvalidRequest
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S

# Starting both engines takes longer than most tests.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quirks(official: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pickled = tmp_path_factory.mktemp("pickled") / "made by unpickling"
    answer = official("engine_quirks", pickled=str(pickled))
    return {**answer, "unpickled": pickled.exists()}


@pytest.fixture(params=["ours", "official engine"])
def engine(request: pytest.FixtureRequest, ours: Any, theirs: Any) -> Iterator[Any]:
    """Our engine, then the official one with our ops in it."""
    return ours if request.param == "ours" else theirs


def png(height: int, width: int) -> bytes:
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".png", noise)[1].tobytes())


def test_1_nothing_from_the_network_is_unpickled(
    engine: Any, quirks: dict[str, Any], official: Any, tmp_path: Path
) -> None:
    assert quirks["unpickled"], "0.9's own RequestOp runs what a request holds"
    made = tmp_path / "made by unpickling"
    answer = official(
        "ask",
        endpoint=engine.endpoint,
        requests={"attack": {"message": {"name": "imagenet", "pickled": str(made)}}},
    )
    assert answer["attack"]["err_no"] == 5000
    assert "numpy array" in answer["attack"]["err_msg"]
    assert not made.exists()


def test_2_the_retry_of_an_op_is_kept(quirks: dict[str, Any], tmp_path: Path) -> None:
    assert quirks["retry of 3"] == 1
    (tmp_path / "model").mkdir()
    config = tmp_path / "config.yml"
    local = '{"model_config": "model"}'
    config.write_text(f"http_port: 1\nop: {{it: {{retry: 3, local_service_conf: {local}}}}}\n")
    assert load_settings(config).ops[0].engine.retries == 3


def test_3_a_retry_of_the_whole_request_is_nobodys(bundles: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    local = f'{{model_config: "{bundles / "imagenet"}"}}'
    config.write_text(
        f"http_port: 1024\ndag: {{retry: 3}}\nop: {{it: {{local_service_conf: {local}}}}}\n"
    )
    warning = load_settings(config).warning
    assert warning is not None
    assert "dag.retry: `retry` of the op is the one that counts" in warning
    plan = plan_of(config)
    assert "retry" not in plan.server["dag"]
    assert plan.left_out == ("dag.retry",)


def test_4_a_timeout_goes_with_several_pictures(
    engine: Any, quirks: dict[str, Any], shared: Path
) -> None:
    assert "list index out of range" in quirks["timeout and mini-batch"]
    # `imagenet` has a timeout in the configuration.
    daisy = (shared / "images" / "daisy.jpg").read_bytes()
    with RpcClient(engine.endpoint, service="imagenet", timeout_s=PATIENCE_S) as client:
        reply = client.send(ClassifyRequest(encoded([daisy] * 3), "imagenet"))
    assert [result[0].label for result in reply.results] == ["daisy"] * 3


def test_5_aliases_need_not_be_names(
    engine: Any, bundles: Path, shared: Path, official: Any, tmp_path: Path
) -> None:
    config = load_bundle(bundles / "anysize").model_config
    assert (config.feeds[0].name, config.feeds[0].alias) == ("x", "picture")
    picture = shared / "images" / "textline_orientation_test_1_1.png"
    with RpcClient(engine.endpoint, service="anysize", timeout_s=PATIENCE_S) as client:
        assert client.classify(picture)[0].label == "180, turned"
    np.savez(tmp_path / "arrays.npz", picture=np.zeros((3, 48, 192), np.float32))
    answer = official(
        "predict",
        server_dir=str(bundles / "anysize" / "serving_server"),
        arrays=str(tmp_path / "arrays.npz"),
        feed="picture",
        fetch=["score"],
        onednn=False,
    )
    assert answer == {"error": "KeyError('x')"}


def test_6_requests_over_4_mb_are_read(engine: Any) -> None:
    large = png(1300, 1300)
    assert len(large) > 4 * 2**20
    with (
        HttpClient(engine.url, service="imagenet", timeout_s=PATIENCE_S) as http,
        RpcClient(engine.endpoint, service="imagenet", timeout_s=PATIENCE_S) as rpc,
    ):
        assert http.classify(large)[0].class_id == rpc.classify(large)[0].class_id


def test_7_answers_over_4_mb_are_sent(ours: Any, theirs: Any) -> None:
    image = base64.b64encode(png(224, 224)).decode()
    count = 64
    body = {"key": ["image"] * count + ["topk"], "value": [image] * count + ["1000"]}
    answer = httpx.post(f"{ours.url}/imagenet/prediction", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 200
    assert len(answer.content) > 4 * 2**20
    values = dict(zip(answer.json()["key"], answer.json()["value"], strict=True))
    assert [len(categories) for categories in json.loads(values["topk"])] == [1000] * count
    # The gateway of 0.9 is the one part of it that our ops cannot mend.
    refused = httpx.post(f"{theirs.url}/imagenet/prediction", json=body, timeout=PATIENCE_S)
    assert refused.status_code != 200
    assert "larger than max" in refused.text
    with RpcClient(theirs.endpoint, service="imagenet", timeout_s=PATIENCE_S) as client:
        request = ClassifyRequest(encoded([base64.b64decode(image)] * count, 1000), "imagenet")
        assert len(client.send(request).results) == count


def test_9_pictures_of_any_shapes_share_a_request(engine: Any, quirks: dict[str, Any]) -> None:
    assert "must match exactly" in quirks["two shapes in a batch"]
    pictures = (png(48, 192), png(64, 100), b"no picture", png(48, 192))
    with RpcClient(engine.endpoint, service="anysize", timeout_s=PATIENCE_S) as client:
        reply = client.send(ClassifyRequest(encoded(pictures, 2), "anysize"))
        assert [isinstance(result, tuple) for result in reply.results] == [True, True, False, True]
        assert isinstance(reply.results[2], InvalidRequest)
        # Each has the score that it has alone.
        for picture, result in zip(pictures, reply.results, strict=True):
            if isinstance(result, tuple):
                alone = client.classify(picture, topk=2)
                assert [c.score for c in result] == pytest.approx([c.score for c in alone], 1e-4)


def test_10_metrics_count_everything_whenever_somebody_looks(official: Any) -> None:
    theirs = official("metrics_quirks")
    assert theirs["without tracer"] == 500
    assert theirs["of 17"] == ["pd_query_request_success_total 5.0"]
    ours = Metrics("1")
    for _ in range(17):
        ours.request_done("it", "http", "ok", 0.01)
    line = 'serving_requests_total{outcome="ok",protocol="http",service="it"} 17.0'
    assert line in ours.exposition().decode().splitlines()
    assert line in ours.exposition().decode().splitlines()


def test_11_flags_of_our_converter_take_no_value(
    official: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert official("converter_quirks", show_proto="False") == {"show_proto": True}
    with pytest.raises(SystemExit) as stop:
        convert(["convert", str(tmp_path), "--show-proto", "False"])
    assert stop.value.code == 2
    assert "unrecognized arguments: False" in capsys.readouterr().err


def test_12_clients_take_names_and_leave_their_callers_things_alone(
    single: Any, official: Any, shared: Path
) -> None:
    data = (shared / "images" / "daisy.jpg").read_bytes()
    port = int(single.endpoint.rpartition(":")[2])
    theirs = official("client_quirks", port=port, picture=base64.b64encode(data).decode())
    assert theirs["left of the dict"] == ["image"]  # of image, logid and clientip
    assert theirs["localhost"] != "0"
    with RpcClient(f"localhost:{port}", service="imagenet", timeout_s=PATIENCE_S) as client:
        assert client.classify(data, log_id=5)[0].label == "daisy"


def test_13_an_inference_json_kills_0_9_and_is_served_by_ours(
    paddle_serving_python: Path, root: Path, tmp_path: Path
) -> None:
    server_dir = root / "serving_model" / "waste" / "serving_server"
    assert load_bundle(server_dir).graph_format.name == "pir"  # e2e serves it in every test
    code = (
        "import requests; from paddle_serving_app.local_predict import LocalPredictor as P; "
        f"P().load_model_config({str(server_dir)!r}); print('loaded')"
    )
    done = subprocess.run(
        [str(paddle_serving_python), "-c", code],
        cwd=tmp_path,
        env={**os.environ, "SERVING_LOG_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # it kills its whole group
    )
    assert done.returncode == -9
    assert "loaded" not in done.stdout


def test_14_answers_are_json_with_commas_and_more_than_the_best(engine: Any, shared: Path) -> None:
    picture = base64.b64encode(
        (shared / "images" / "textline_orientation_test_1_0.png").read_bytes()
    ).decode()
    answer = httpx.post(
        f"{engine.url}/ppocr/prediction",
        json={"key": ["x"], "value": [picture]},
        timeout=PATIENCE_S,
    ).json()
    values = dict(zip(answer["key"], map(json.loads, answer["value"]), strict=True))
    assert values["label"] == ["180, turned"]
    assert [c["label"] for c in values["topk"][0]] == ["180, turned", "0, upright"]


def test_the_table_names_tests_that_exist(root: Path) -> None:
    named = re.findall(r"(\w+/[\w/]+\.py): (test_\w+(?:, test_\w+)*)", __doc__ or "")
    assert named
    for file, tests in named:
        text = (root / "tests" / file).read_text(encoding="utf-8")
        for test in tests.split(", "):
            assert f"def {test}(" in text, f"{file}: {test}"
