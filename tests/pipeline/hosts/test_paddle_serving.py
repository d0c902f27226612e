"""config.yml as the official engine gets it; tests/conformance runs that engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle.inference_yml import InferenceDescription, TransformOp, write_inference_yml
from bundle.model_config import ModelConfig, TensorSpec, write_model_config
from pipeline.hosts import paddle_serving
from pipeline.hosts.paddle_serving_config import ConfigurationError, Plan, plan_of

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
    description = InferenceDescription("", (RESIZE,), topk=2, labels=("a, b", "c"))
    write_inference_yml(description, server / "inference.yml")
    return tmp_path / "model"


def plan(model: Path, *, op: Any = None, local: Any = None, **top: Any) -> Plan:
    local = {"model_config": "model", **(local or {})}
    tree = {"http_port": 18080, **top, "op": {"it": {"local_service_conf": local, **(op or {})}}}
    (model.parent / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return plan_of(model.parent / "config.yml")


def test_missing_keys_mean_what_they_mean_to_our_engine(model: Path) -> None:
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


def test_our_keys_reach_our_op_and_the_rest_is_told(model: Path) -> None:
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
    ("change", "told"),
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
def test_what_cannot_be_served_is_refused_by_name(
    model: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        plan(model, **change)


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
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(model)
    assert paddle_serving.main(["--config", str(model.parent / "config.yml")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "make paddle-serving-env" in line
