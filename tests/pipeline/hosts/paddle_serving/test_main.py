"""config.yml as the official engine gets it; tests/conformance runs that engine."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle.inference_yml import InferenceDescription, TransformOp, write_inference_yml
from bundle.model_config import ModelConfig, TensorSpec, write_model_config
from pipeline.hosts.paddle_serving import __main__ as paddle_serving
from pipeline.hosts.paddle_serving.config import Plan, plan_of
from pipeline.hosts.paddle_serving.errors import ConfigurationError

RESIZE = TransformOp("ResizeImage", {"size": 32})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle with two outputs; the graph is never loaded here."""
    server = tmp_path / "model" / "serving_server"
    server.mkdir(parents=True)
    (server / "__model__").write_bytes(b"graph")
    fetches = (
        TensorSpec("feature", "feature", "float32", (128,)),
        TensorSpec("softmax", "prediction", "float32", (2,)),
    )
    config = ModelConfig((TensorSpec("x", "x", "float32", (3, 32, 32)),), fetches)
    write_model_config(config, server, "serving_server_conf")
    description = InferenceDescription(
        "", (RESIZE, TransformOp("ToCHWImage", {})), topk=2, labels=("a, b", "c")
    )
    write_inference_yml(description, server / "inference.yml")
    return tmp_path / "model"


def plan(model: Path, *, op: Any = None, local: Any = None, **top: Any) -> Plan:
    local = {"model_config": "model", **(local or {})}
    tree = {"http_port": 18080, **top, "op": {"it": {"local_service_conf": local, **(op or {})}}}
    (model.parent / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return plan_of(model.parent / "config.yml")


def test_missing_keys_have_the_defaults_of_our_engine(model: Path) -> None:
    made = plan(model)
    assert (made.server["http_port"], made.server["rpc_port"]) == (18080, 18081)
    assert made.server["worker_num"] > 1
    assert made.server["dag"] == {"is_thread_op": False}
    op = made.server["op"]["it"]
    assert (op["batch_size"], op["concurrency"] >= 1) == (1, True)
    local = op["local_service_conf"]
    assert (local["use_mkldnn"], local["ir_optim"], local["devices"]) == (True, True, "")
    assert local["model_config"] == str(model / "serving_server")
    (service,) = made.services
    assert (service.topk, service.labels, service.fetch.alias) == (2, ("a, b", "c"), "prediction")
    assert made.left_out == ()


def test_a_batch_without_a_time_to_wait_would_wait_for_ever(model: Path) -> None:
    assert plan(model, op={"batch_size": 8}).server["op"]["it"]["batch_size"] == 1
    waiting = plan(model, op={"batch_size": 8, "auto_batching_timeout": 2.5})
    assert waiting.server["op"]["it"]["batch_size"] == 8
    assert waiting.server["op"]["it"]["auto_batching_timeout"] == 2


def test_our_keys_reach_our_op_and_the_rest_is_listed(model: Path) -> None:
    (model.parent / "labels.txt").write_text("x\ny\n", encoding="utf-8")
    made = plan(
        model,
        op={"topk": 1, "threshold": 0.5, "labels": "labels.txt", "classifier": "a:B", "retry": 0},
        local={"fetch_list": ["prediction"], "backend": "paddle", "devices": 0},
        max_images=3,
        host="127.0.0.1",
        dag={"retry": 2, "tracer": {"interval_s": 10}, "is_thread_op": True},
    )
    (service,) = made.services
    assert (service.topk, service.threshold, service.labels) == (1, 0.5, ("x", "y"))
    assert made.max_images == 3
    assert made.server["op"]["it"]["retry"] == 1
    assert made.server["op"]["it"]["local_service_conf"]["devices"] == "0"
    assert made.server["dag"] == {"is_thread_op": False, "tracer": {"interval_s": 10}}
    assert made.left_out == (
        "dag.is_thread_op: True",
        "dag.retry",
        "host",
        "op.it.classifier",
        "op.it.local_service_conf.backend",
    )


def test_metrics_have_one_port_and_so_one_service(model: Path) -> None:
    local = {"local_service_conf": {"model_config": "model"}}
    tree = {"http_port": 18080, "dag": {"enable_prometheus": True}, "op": {"a": local, "b": local}}
    (model.parent / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    made = plan_of(model.parent / "config.yml")
    assert [service.name for service in made.services] == ["a", "b"]
    assert made.left_out == ("dag.enable_prometheus of every service but the first",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"http_port": 0}, "cannot take any free port"),
        ({"http_port": None, "rpc_port": None}, "give http_port, rpc_port or both"),
        ({"op": {"server_endpoints": ["a:1"]}}, "no remote engine"),
        ({"local": {"client_type": "brpc"}}, "no remote engine"),
        ({"local": {"model_config": None}}, "model_config is missing"),
        ({"local": {"fetch_list": ["feature", "prediction"]}}, "give the one to answer from"),
        ({"local": {"fetch_list": ["score"]}}, "it has feature, prediction"),
    ],
)
def test_a_key_that_cannot_be_served_is_refused_by_name(
    model: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan(model, **change)


WRONG_IN_OP = [
    ("concurrency", "abc"), ("concurrency", "2"), ("concurrency", 0), ("timeout", "x"),
    ("retry", "x"), ("batch_size", 2.5), ("auto_batching_timeout", "x"), ("labels", 5),
    ("topk", "x"), ("threshold", "abc"), ("threshold", 2), ("max_image_pixels", "x"),
    ("fast_decode", "x"), ("start_timeout", "x"), ("fetch_list", "prediction"),
]  # fmt: skip
WRONG_IN_LOCAL = [
    ("model_config", 5), ("model_config", ["a"]), ("devices", [0]), ("precision", "fp99"),
    ("device_type", "gpu"), ("thread_num", "x"), ("mem_optim", 1), ("ir_optim", "x"),
    ("use_calib", "x"), ("use_mkldnn", "x"), ("mkldnn_cache_capacity", "x"),
    ("mkldnn_op_list", "conv2d"), ("mkldnn_bf16_op_list", [1]), ("min_subgraph_size", "x"),
    ("fetch_list", "prediction"),
]  # fmt: skip
WRONG = [
    *(({key: value}, key) for key, value in [
        ("http_port", "x"), ("http_port", 70_000), ("rpc_port", [1]), ("worker_num", "x"),
        ("worker_num", 0), ("max_images", "x"), ("dag", 5), ("op", [1]),
    ]),
    *(({"dag": {key: value}}, f"dag.{key}") for key, value in [
        ("use_profile", "x"), ("channel_size", "x"), ("tracer", 5), ("tracer", [1]),
        ("enable_prometheus", "x"), ("prometheus_port", "x"), ("is_thread_op", "x"),
    ]),
    ({"dag": {"tracer": {"interval_s": "x"}}}, "dag.tracer.interval_s"),
    *(({"op": {key: value}}, f"op.it.{key}") for key, value in WRONG_IN_OP),
    ({"op": {"local_service_conf": 5}}, "op.it.local_service_conf"),
    *(
        ({"local": {key: value}}, f"op.it.local_service_conf.{key}")
        for key, value in WRONG_IN_LOCAL
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "key"), WRONG, ids=str)
def test_a_wrong_value_is_one_line_with_its_key(
    model: Path, change: dict[str, Any], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(model)
    tree = yaml.safe_load((model.parent / "config.yml").read_text(encoding="utf-8"))
    if isinstance(change.get("op"), list):
        tree |= change
    else:
        tree["op"]["it"] |= change.pop("op", {})
        local = tree["op"]["it"]["local_service_conf"]
        if isinstance(local, dict):
            local |= change.pop("local", {})
        tree |= change
    (model.parent / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert paddle_serving.main(["--config", str(model.parent / "config.yml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"config.yml: {key} must " in line


def test_wider_values_of_0_9_stay_allowed(model: Path) -> None:
    local = {"precision": "int8", "device_type": 2, "use_calib": True, "min_subgraph_size": 3}
    made = plan(model, local=local, worker_num=2).server["op"]["it"]["local_service_conf"]
    assert {key: made[key] for key in local} == local


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"rpc_port": 18080}, "http_port and rpc_port are both 18080; choose another port"),
        ({"http_port": 65535}, "rpc_port is 65536; give a number from 1 to 65535"),
        (
            {"dag": {"enable_prometheus": True, "prometheus_port": 18081}},
            "rpc_port and dag.prometheus_port are both 18081",
        ),
        ({"dag": {"enable_prometheus": True, "prometheus_port": 0}}, "prometheus_port is 0; give"),
    ],
)
def test_ports_that_cannot_be_opened(model: Path, ports: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan(model, **ports)


def test_metrics_without_a_port_are_where_ours_are(model: Path) -> None:
    assert plan(model, dag={"enable_prometheus": True}).server["dag"]["prometheus_port"] == 19393


@pytest.mark.parametrize("key", ["http_port", "rpc_port"])
def test_a_taken_port_is_named_with_what_to_do(
    model: Path, key: str, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        plan(model, **{"http_port": None, "rpc_port": None, key: port})
        tree = yaml.safe_load((model.parent / "config.yml").read_text(encoding="utf-8"))
        if key == "http_port":
            tree["rpc_port"] = free_port
        (model.parent / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        assert paddle_serving.main(["--config", str(model.parent / "config.yml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"config.yml: {key} {port}: Address already in use; stop what listens there" in line


def test_an_inference_json_is_refused_with_what_to_do(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = {"model_config": str(root / "serving_model" / "waste")}
    tree = {"http_port": 18080, "op": {"waste": {"local_service_conf": local}}}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert paddle_serving.main(["--config", str(tmp_path / "config.yml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "0.9 cannot read inference.json" in line


def test_without_the_official_packages_it_says_where_they_come_from(
    model: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(model, http_port=None, rpc_port=free_port)
    assert paddle_serving.main(["--config", str(model.parent / "config.yml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "make paddle-serving-env" in line
