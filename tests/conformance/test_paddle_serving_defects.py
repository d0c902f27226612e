"""Where Paddle Serving 0.9 is wrong: ours is right, and 0.9 was seen to be wrong.

What 0.9 answers is recorded, because it no longer changes; test_recorded.py compares the record
with the official packages. The tests with `engine` run on our engine, and in the slow tier on the
official one with our ops in it.

| | defect of 0.9 | shown by |
|---|---|---|
| 1 | bytes of a request are unpickled | here |
| 2 | `retry` of an op is ignored | here; engine/test_faults.py |
| 3 | `dag.retry` above 1 ends in a server that hangs | here: it has no effect, and 0.9 never gets it; e2e/test_faults.py: test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing |
| 4 | `timeout` with a request of several arrays: IndexError | here |
| 5 | a feed alias that is not the name; fetches by position | here; predictors/test_paddle_inference.py |
| 6 | with `build_dag_each_worker` 4 MB and localhost only | here (large requests); worker processes are the only mode |
| 7 | answers over 4 MB fail over HTTP | here |
| 8 | no deadline, no cancellation, a full queue blocks | pipeline/engine/test_cancellation.py: test_a_deadline_in_a_running_batch_ends_only_its_own_request; pipeline/engine/test_lifecycle.py: test_a_full_queue_refuses_at_once_and_admits_all_or_nothing; pipeline/web/test_app.py: test_a_client_that_goes_away_cancels_its_request; pipeline/rpc/test_key_value.py: test_a_caller_that_goes_away_cancels_its_request, test_the_deadline_of_the_caller_is_handed_on |
| 9 | one shape that differs fails the batch | here; engine/test_faults.py: a bad image fails alone |
| 10 | /metrics needs the tracer and counts wrongly | here; e2e/test_monitoring.py: test_metrics_count_what_clients_saw |
| 11 | `--show_proto False` is true | here |
| 12 | PipelineClient: changes its caller's dict, knows no names | here; client/test_faults.py |
| 13 | `inference.json` is unknown, and kills the process group | here; e2e/test_real_models.py |
| 14 | top-1 only, Python reprs, commas cut out of labels | here; test_paddle_serving_clients.py |
"""  # noqa: E501 - a table

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import grpc
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
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S


@pytest.fixture(params=["ours", pytest.param("official engine", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Any:
    """Our engine, then the official one with our ops in it."""
    return request.getfixturevalue("ours" if request.param == "ours" else "theirs")


class Unpickled:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def png(height: int, width: int) -> bytes:
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".png", noise)[1].tobytes())


def test_1_nothing_from_the_network_is_unpickled(
    engine: Any, recorded: dict[str, Any], tmp_path: Path
) -> None:
    assert recorded["engine_quirks"]["unpickled"], "0.9's own RequestOp runs what a request holds"
    made = tmp_path / "made by unpickling"
    pickled = io.BytesIO()
    np.save(pickled, np.array([Unpickled(made)], dtype=object), allow_pickle=True)
    request = pb.Request(name="imagenet")
    request.tensors.add(name="image", elem_type=13, byte_data=pickled.getvalue())
    with grpc.insecure_channel(engine.endpoint) as channel:
        answer = pb_grpc.PipelineServiceStub(channel).inference(request, timeout=PATIENCE_S)
    assert answer.err_no == 5000
    assert "numpy array" in answer.err_msg
    assert not made.exists()


def test_2_the_retry_of_an_op_is_kept(recorded: dict[str, Any], tmp_path: Path) -> None:
    assert recorded["engine_quirks"]["retry of 3"] == 1
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


def test_4_a_timeout_goes_with_several_images(
    engine: Any, recorded: dict[str, Any], shared: Path
) -> None:
    assert "list index out of range" in recorded["engine_quirks"]["timeout and mini-batch"]
    # `imagenet` has a timeout in the configuration.
    daisy = (shared / "images" / "daisy.jpg").read_bytes()
    with RpcClient(engine.endpoint, service="imagenet", timeout_s=PATIENCE_S) as client:
        reply = client.send(ClassifyRequest(encoded([daisy] * 3), "imagenet"))
    assert [result[0].label for result in reply.results] == ["daisy"] * 3


def test_5_aliases_need_not_be_names(
    engine: Any, bundles: Path, shared: Path, recorded: dict[str, Any]
) -> None:
    config = load_bundle(bundles / "anysize").model_config
    assert (config.feeds[0].name, config.feeds[0].alias) == ("x", "image")
    image = shared / "images" / "textline_orientation_test_1_1.png"
    with RpcClient(engine.endpoint, service="anysize", timeout_s=PATIENCE_S) as client:
        assert client.classify(image)[0].label == "180, turned"
    assert recorded["predict_by_alias"] == {"error": "KeyError('x')"}


def test_6_requests_over_4_mb_are_read(engine: Any) -> None:
    large = png(1300, 1300)
    assert len(large) > 4 * 2**20
    with (
        HttpClient(engine.url, service="imagenet", timeout_s=PATIENCE_S) as http,
        RpcClient(engine.endpoint, service="imagenet", timeout_s=PATIENCE_S) as rpc,
    ):
        assert http.classify(large)[0].class_id == rpc.classify(large)[0].class_id


def body_of_64_images() -> dict[str, Any]:
    image = base64.b64encode(png(224, 224)).decode()
    return {"key": ["image"] * 64 + ["topk"], "value": [image] * 64 + ["1000"]}


def test_7_answers_over_4_mb_are_sent(ours: Any) -> None:
    body = body_of_64_images()
    answer = httpx.post(f"{ours.url}/imagenet/prediction", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 200
    assert len(answer.content) > 4 * 2**20
    values = dict(zip(answer.json()["key"], answer.json()["value"], strict=True))
    assert [len(categories) for categories in json.loads(values["topk"])] == [1000] * 64


def test_7_the_gateway_of_0_9_refuses_them(theirs: Any) -> None:
    """The one part of 0.9 that our ops cannot mend."""
    body = body_of_64_images()
    refused = httpx.post(f"{theirs.url}/imagenet/prediction", json=body, timeout=PATIENCE_S)
    assert refused.status_code != 200
    assert "larger than max" in refused.text
    with RpcClient(theirs.endpoint, service="imagenet", timeout_s=PATIENCE_S) as client:
        request = ClassifyRequest(encoded([png(224, 224)] * 64, 1000), "imagenet")
        assert len(client.send(request).results) == 64


def test_9_images_of_any_shapes_share_a_request(engine: Any, recorded: dict[str, Any]) -> None:
    assert "must match exactly" in recorded["engine_quirks"]["two shapes in a batch"]
    images = (png(48, 192), png(64, 100), b"no image", png(48, 192))
    with RpcClient(engine.endpoint, service="anysize", timeout_s=PATIENCE_S) as client:
        reply = client.send(ClassifyRequest(encoded(images, 2), "anysize"))
        assert [isinstance(result, tuple) for result in reply.results] == [True, True, False, True]
        assert isinstance(reply.results[2], InvalidRequest)
        # Each has the score that it has alone.
        for image, result in zip(images, reply.results, strict=True):
            if isinstance(result, tuple):
                alone = client.classify(image, topk=2)
                assert [c.score for c in result] == pytest.approx([c.score for c in alone], 1e-4)


def test_10_metrics_count_everything_whenever_somebody_looks(recorded: dict[str, Any]) -> None:
    theirs = recorded["metrics_quirks"]
    assert theirs["without tracer"] == 500
    assert theirs["of 17"] == ["pd_query_request_success_total 5.0"]
    ours = Metrics("1")
    for _ in range(17):
        ours.request_done("it", "http", "ok", 0.01)
    line = 'serving_requests_total{outcome="ok",protocol="http",service="it"} 17.0'
    assert line in ours.exposition().decode().splitlines()
    assert line in ours.exposition().decode().splitlines()


def test_11_flags_of_our_converter_take_no_value(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recorded["converter_quirks"] == {"show_proto": True}
    with pytest.raises(SystemExit) as stop:
        convert(["convert", str(tmp_path), "--show-proto", "False"])
    assert stop.value.code == 2
    assert "unrecognized arguments: False" in capsys.readouterr().err


def test_12_clients_take_names_and_leave_their_callers_things_alone(
    single: Any, recorded: dict[str, Any], shared: Path
) -> None:
    data = (shared / "images" / "daisy.jpg").read_bytes()
    port = int(single.endpoint.rpartition(":")[2])
    theirs = recorded["client_quirks"]
    assert theirs["left of the dict"] == ["image"]  # of image, logid and clientip
    assert theirs["localhost"] != "0"
    with RpcClient(f"localhost:{port}", service="imagenet", timeout_s=PATIENCE_S) as client:
        assert client.classify(data, log_id=5)[0].label == "daisy"


def test_13_an_inference_json_kills_0_9_and_is_served_by_ours(
    recorded: dict[str, Any], root: Path
) -> None:
    server_dir = root / "serving_model" / "waste" / "serving_server"
    assert load_bundle(server_dir).graph_format.name == "pir"  # e2e/test_forms.py serves it
    assert recorded["inference_json"] == {"exit code": -9, "loaded": False}


def test_14_answers_are_json_with_commas_and_more_than_the_best(engine: Any, shared: Path) -> None:
    image = base64.b64encode(
        (shared / "images" / "textline_orientation_test_1_0.png").read_bytes()
    ).decode()
    answer = httpx.post(
        f"{engine.url}/ppocr/prediction",
        json={"key": ["x"], "value": [image]},
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
