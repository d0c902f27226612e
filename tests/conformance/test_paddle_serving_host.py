"""The same config.yml on our engine and, with our stages, on the official one: the same answers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from protocol.errors import ServiceNotFound, UndecodableImage
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.key_value.received import reply_from_proto
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S

from .conftest import free_ports

# Starting both engines takes longer than most tests.
pytestmark = pytest.mark.slow

KNOWN = {
    "ppocr": {"textline_orientation_test_0_1.png": 0, "textline_orientation_test_1_1.png": 1},
    "imagenet": {"egypt_cat.jpg": 281, "daisy.jpg": 985},
}


def connect(service: Any, wire: str, name: str) -> HttpClient | RpcClient:
    if wire == "http":
        return HttpClient(service.url, service=name, timeout_s=PATIENCE_S)
    return RpcClient(service.endpoint, service=name, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("wire", ["http", "rpc"])
@pytest.mark.parametrize("name", list(KNOWN))
def test_our_clients_get_the_same_answers_from_both_engines(
    ours: Any, theirs: Any, shared: Path, name: str, wire: str
) -> None:
    with connect(ours, wire, name) as one, connect(theirs, wire, name) as other:
        for image, known in KNOWN[name].items():
            answer = one.classify(shared / "images" / image, topk=3)
            same = other.classify(shared / "images" / image, topk=3)
            assert same[0].class_id == known
            assert [c.class_id for c in same] == [c.class_id for c in answer]
            assert [c.label for c in same] == [c.label for c in answer]
            for mine, its in zip(answer, same, strict=True):
                assert its.score == pytest.approx(mine.score, abs=1e-5)
        if wire == "http":  # Paddle Serving 0.9 does not read the bytes of an image as the body
            assert (one._wire, other._wire) == ("raw", "envelope")


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_a_bad_image_fails_alone_in_the_official_engine_too(
    theirs: Any, shared: Path, wire: str
) -> None:
    good = (shared / "images" / "daisy.jpg").read_bytes()
    with connect(theirs, wire, "imagenet") as client:
        reply = client.send(
            ClassifyRequest(encoded([good, good[:5000], b"GIF89a", good], 1), "imagenet")
        )
        assert [type(result) for result in reply.results] == [
            tuple,
            UndecodableImage,
            UndecodableImage,
            tuple,
        ]
        assert "cut off" in str(reply.results[1])
        with pytest.raises(UndecodableImage, match="this looks like"):
            client.classify(b"hello")
    missing = pytest.raises(ServiceNotFound, match="services: anysize, imagenet, ppocr")
    with connect(theirs, wire, "nobody") as client, missing:
        client.classify(good)


def test_many_callers_get_their_own_answers_from_the_official_engine(
    theirs: Any, shared: Path
) -> None:
    known = list(KNOWN["imagenet"].items()) * 16
    images = [(shared / "images" / image).read_bytes() for image, _ in known]
    with connect(theirs, "rpc", "imagenet") as client:
        answers = list(client.classify_many(images, topk=1, jobs=8))
    assert [answer.categories[0].class_id for answer in answers] == [right for _, right in known]


def requests(shared: Path) -> dict[str, pb.Request]:
    """What a caller may send over RPC, right and wrong."""
    daisy = (shared / "images" / "daisy.jpg").read_bytes()
    cat = (shared / "images" / "egypt_cat.jpg").read_bytes()
    one, two = base64.b64encode(daisy).decode(), base64.b64encode(cat).decode()
    numbers = b"\x93NUMPY\x01\x00"
    asked: dict[str, dict[str, Any]] = {
        "one": {"key": ["image"], "value": [one]},
        "any key": {"key": ["x"], "value": [one]},
        "repeated keys": {"key": ["image", "image"], "value": [one, two]},
        "options": {"key": ["topk", "image", "threshold"], "value": ["3", two, "0.2"]},
        "empty options": {"key": ["image", "topk", "threshold"], "value": [one, "", ""]},
        "nothing above": {"key": ["image", "threshold"], "value": [two, "0.99"]},
        "more than there are": {"key": ["image", "topk"], "value": [one, "100000"]},
        "profile": {"key": ["image", "pipeline.profile"], "value": [one, "1"]},
        "data URL": {"key": ["image"], "value": ["data:image/jpeg;base64," + one]},
        "URL-safe": {"key": ["image"], "value": [one.translate({43: "-", 47: "_"}).rstrip("=")]},
        "quoted": {"key": ["image"], "value": [f"b'{one}'"]},
        "a path": {"key": ["image"], "value": ["/data/a.jpg"]},
        "blanks for +": {"key": ["image"], "value": [one.replace("+", " ")]},
        "top_k": {"key": ["image", "top_k"], "value": [one, "1"]},
        "line breaks": {"key": ["image"], "value": [one[:76] + "\r\n" + one[76:]]},
        "byte tensor": {"tensors": [{"name": "image", "byte_data": daisy, "elem_type": 13}]},
        "text tensor": {"tensors": [{"name": "image", "str_data": [one, two], "elem_type": 12}]},
        "array": {"tensors": [{"name": "image", "byte_data": numbers, "elem_type": 13}]},
        "float tensor": {"tensors": [{"name": "image", "float_data": [1.0], "elem_type": 1}]},
        "bad among good": {"key": ["a", "b", "c"], "value": [one, two[:4000], one]},
        "all bad": {"key": ["a", "b"], "value": ["aGVsbG8=", two[:4000]]},
        "nothing": {},
        "only options": {"key": ["topk"], "value": ["1"]},
        "a value too few": {"key": ["a", "b"], "value": [one]},
        "no base64": {"key": ["image"], "value": ["*"]},
        "empty": {"key": ["image"], "value": [""]},
        "topk 0": {"key": ["image", "topk"], "value": [one, "0"]},
        "topk words": {"key": ["image", "topk"], "value": [one, "three"]},
        "threshold 2": {"key": ["image", "threshold"], "value": [one, "2"]},
        "too many": {"key": ["image"] * 65, "value": ["aGVsbG8="] * 65},
        "no name": {"key": ["image"], "value": [one], "name": ""},
        "another name": {"key": ["image"], "value": [one], "name": "imagenet2"},
    }
    return {
        case: pb.Request(**{"name": "imagenet", "method": "prediction", "logid": 7, **fields})
        for case, fields in asked.items()
    }


def test_both_engines_answer_every_kind_of_request_alike(
    ours: Any, theirs: Any, shared: Path
) -> None:
    with (
        grpc.insecure_channel(ours.endpoint) as one,
        grpc.insecure_channel(theirs.endpoint) as other,
    ):
        mine, its = pb_grpc.PipelineServiceStub(one), pb_grpc.PipelineServiceStub(other)
        for case, request in requests(shared).items():
            expected, answer = mine.inference(request), its.inference(request)
            assert answer.err_no == expected.err_no, case
            # What follows "not base64:" is Python's own text, of its version.
            message, right = (
                message.err_msg.partition("base64: ")[0] for message in (answer, expected)
            )
            assert message == right, case
            assert list(answer.key) == list(expected.key), case
            if expected.err_no != 0:
                continue
            for key, text, right in zip(answer.key, answer.value, expected.value, strict=True):
                if key in ("label", "errors"):
                    assert json.loads(text) == json.loads(right), case
            for result, right in zip(
                reply_from_proto(answer).results, reply_from_proto(expected).results, strict=True
            ):
                if isinstance(right, tuple):
                    assert [(c.class_id, c.label) for c in result] == [
                        (c.class_id, c.label) for c in right
                    ], case
                    assert [c.score for c in result] == pytest.approx(
                        [c.score for c in right], abs=1e-5
                    )


def test_http_answers_have_the_same_five_fields(ours: Any, theirs: Any, shared: Path) -> None:
    daisy = base64.b64encode((shared / "images" / "daisy.jpg").read_bytes()).decode()
    body = {"key": ["image", "topk"], "value": [daisy, "2"], "logid": 12}
    answers = [
        httpx.post(f"{service.url}/imagenet/prediction", json=body, timeout=PATIENCE_S).json()
        for service in (ours, theirs)
    ]
    assert list(answers[0]) == list(answers[1])
    assert answers[0]["key"] == answers[1]["key"] == ["label", "prob", "topk"]
    assert answers[0]["value"][0] == answers[1]["value"][0] == '["daisy"]'


def test_keys_that_it_leaves_out_are_named_in_one_line(theirs: Any) -> None:
    lines = [line for line in theirs.err.splitlines() if "left out" in line]
    assert len(lines) == 1
    assert lines[0].endswith("does nothing with: host, op.ppocr.local_service_conf.backend")


def group_of(leader: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,pid=,stat="], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in listed.stdout.splitlines()]
    return [pid for pgid, pid, stat in lines if pgid == str(leader) and "Z" not in stat]


def test_it_runs_as_a_module_on_rpc_alone_and_sigterm_ends_all_of_it(
    bundles: Path, start_official: Any, shared: Path, tmp_path: Path
) -> None:
    # 0.9's own server stops at a configuration without http_port: it compares None with 0.
    port = free_ports()["rpc_port"]
    tree = {
        "http_port": None,
        "rpc_port": port,
        "dag": {"is_thread_op": True, "retry": 3},
        "op": {"ppocr": {"local_service_conf": {"model_config": str(bundles / "ppocr")}}},
    }
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with start_official(config, as_module=True) as service:
        with RpcClient(f"127.0.0.1:{port}", service="ppocr", timeout_s=PATIENCE_S) as client:
            image = shared / "images" / "textline_orientation_test_1_0.png"
            assert client.classify(image)[0].label == "180, turned"
        leader = service.process.pid
        assert len(group_of(leader)) > 1
        assert service.stop() == 0
        assert group_of(leader) == []
        assert "dag.is_thread_op: True, dag.retry" in service.err


def test_a_model_process_that_dies_ends_the_service_instead_of_hanging_it(
    bundles: Path, start_official: Any, tmp_path: Path
) -> None:
    tree = {
        "rpc_port": free_ports()["rpc_port"],
        "op": {
            "ppocr": {
                "concurrency": 1,
                "local_service_conf": {"model_config": str(bundles / "ppocr")},
            }
        },
    }
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with start_official(config) as service:
        children = [int(pid) for pid in group_of(service.process.pid)]
        children.remove(service.process.pid)
        os.kill(children[-1], 9)
        assert service.process.wait(PATIENCE_S) == 1
        assert "a process of Paddle Serving died" in service.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"http_port": 0}, "0.9 cannot take any free port"),
        (
            {"op": {"waste": {"local_service_conf": {"model_config": "serving_model/waste"}}}},
            "0.9 cannot read inference.json",
        ),
    ],
    ids=["port", "PIR"],
)
def test_what_0_9_cannot_serve_is_one_line_before_it_starts(
    start_official: Any, root: Path, bundles: Path, tmp_path: Path, change: Any, message: str
) -> None:
    tree = {
        "http_port": 18080,
        "op": {"ppocr": {"local_service_conf": {"model_config": str(bundles / "ppocr")}}},
    }
    config = tmp_path / "config.yml"
    text = yaml.safe_dump({**tree, **change}).replace("serving_model", str(root / "serving_model"))
    config.write_text(text, encoding="utf-8")
    with start_official(config, ready=False) as service:
        assert service.process.wait(PATIENCE_S) == 1
        (line,) = service.err.splitlines()
        assert line.startswith("error: ")
        assert message in line


def test_preprocessing_that_does_not_fit_the_model_is_one_line_before_it_starts(
    start_official: Any, bundles: Path, tmp_path: Path
) -> None:
    """Of a bundle that was edited by hand."""
    edited = shutil.copytree(bundles / "imagenet", tmp_path / "imagenet")
    description = edited / "serving_server" / "inference.yml"
    text = description.read_text(encoding="utf-8")
    assert "- ToCHWImage: null\n" in text
    description.write_text(text.replace("  - ToCHWImage: null\n", ""), encoding="utf-8")
    config = tmp_path / "config.yml"
    op = {"imagenet": {"local_service_conf": {"model_config": str(edited)}}}
    config.write_text(yaml.safe_dump({"http_port": 18080, "op": op}), encoding="utf-8")
    with start_official(config, ready=False) as service:
        assert service.process.wait(PATIENCE_S) == 1
        (line,) = service.err.splitlines()
    assert line.startswith(f"error: {description}: preprocessing gives [224, 224, 3], the model")
    assert line.endswith("end transform_ops with ToCHWImage")
