"""Configuration files of Paddle Serving 0.9, unchanged, in ours."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.hosts.paddle_serving import keys as host
from pipeline.hosts.paddle_serving.config import plan_of
from pipeline.settings.config import ServiceSettings, load_settings
from pipeline.settings.keys import DAG, LOCAL_SERVICE_CONF, OP, TOP, Key

# Every key that 0.9 documents or checks, with a value it documents for local prediction.
EVERY_KEY = """
rpc_port: 9998
http_port: 18082
grpc_gateway_port: 9999
worker_num: 20
build_dag_each_worker: false
dag:
    is_thread_op: False
    retry: 1
    use_profile: false
    channel_size: 0
    client_type: brpc
    channel_recv_frist_arrive: False
    tracer:
        interval_s: 10
    enable_prometheus: True
    prometheus_port: 19393
op:
    imagenet:
        concurrency: 6
        timeout: 3000
        retry: 1
        batch_size: 2
        auto_batching_timeout: 2000
        client_type: local_predictor
        client_config: serving_client_conf.prototxt
        server_endpoints: []
        fetch_list: ["prediction"]
        use_encryption_model: False
        encryption_key: ""
        local_service_conf:
            client_type: local_predictor
            model_config: model
            workdir: ""
            thread_num: 2
            device_type: 0
            devices: ""
            fetch_list: ["prediction"]
            mem_optim: True
            ir_optim: False
            precision: "fp32"
            use_calib: False
            use_mkldnn: True
            mkldnn_cache_capacity: 0
            mkldnn_op_list: ["conv2d"]
            mkldnn_bf16_op_list: ["conv2d"]
            min_subgraph_size: 3
"""

# deploy/paddleserving/config.yml of PaddleClas, its comments left out
PADDLECLAS = """
worker_num: 1
http_port: 18080
rpc_port: 9993
dag:
    is_thread_op: False
op:
    imagenet:
        concurrency: 1
        local_service_conf:
            model_config: ./ResNet50_vd_serving
            device_type: 1
            devices: "0" # "0,1"
            client_type: local_predictor
            fetch_list: ["prediction"]
"""


def load(folder: Path, text: str) -> ServiceSettings:
    (folder / "config.yml").write_text(text, encoding="utf-8")
    return load_settings(folder / "config.yml")


def test_every_key_of_0_9_is_accepted_and_those_without_effect_are_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    settings = load(tmp_path, EVERY_KEY)
    assert (settings.http_port, settings.rpc_port) == (18082, 9998)
    (op,) = settings.ops
    assert (op.engine.workers, op.engine.timeout_s, op.engine.batch_size) == (6, 3.0, 2)
    assert (op.engine.retries, op.engine.auto_batching_timeout_s) == (1, 2.0)
    assert op.classifier.predictor.threads == 2
    assert not op.classifier.predictor.graph_optim
    assert settings.warning is not None
    for idle in ("worker_num", "grpc_gateway_port", "dag.is_thread_op", "dag.tracer.interval_s"):
        assert f"{idle}: " in settings.warning
    for used in ("concurrency", "timeout", "fetch_list", "use_mkldnn"):
        assert f"{used}: " not in settings.warning


def test_the_configuration_of_the_paddleclas_sample_is_read(tmp_path: Path) -> None:
    (tmp_path / "ResNet50_vd_serving").mkdir()
    settings = load(tmp_path, PADDLECLAS)
    (op,) = settings.ops
    assert (settings.http_port, settings.rpc_port, op.devices) == (18080, 9993, ("gpu:0",))
    assert op.classifier.predictor.fetch == "prediction"


@pytest.mark.parametrize("name", ["config_cpu.yml", "config_gpu.yml"])
def test_the_files_of_the_repository_are_read(shared: Path, name: str) -> None:
    settings = load_settings(shared / "models" / "serving_uci_housing" / name)
    assert settings.ops[0].name == "uci"
    assert settings.ops[0].devices == (("gpu:0",) if "gpu" in name else ("cpu",))


def test_the_files_inside_the_official_package_are_read(paddle_serving_python: Path) -> None:
    where = "import importlib.util as u; print(u.find_spec('paddle_serving_server').origin)"
    done = subprocess.run(
        [str(paddle_serving_python), "-c", where], capture_output=True, text=True, check=True
    )
    files = sorted(Path(done.stdout.strip()).parent.rglob("config*.yml"))
    assert files
    for file in files:
        assert load_settings(file).ops


def test_the_host_for_the_official_engine_knows_every_key_of_ours() -> None:
    """A key is handed to 0.9, read by our op there, or listed as left out: none is missed."""
    left_out = {
        # 0.9 breaks with them, or they belong to remote engines
        *("build_dag_each_worker", "is_thread_op", "retry", "client_type", "server_endpoints"),
        *("client_config", "use_encryption_model", "encryption_key", "workdir"),
        *("channel_recv_frist_arrive", "grpc_gateway_port"),
        # ours, and 0.9 has nowhere to put them
        *("host", "max_body_mb", "drain_timeout", "classifier", "backend", "admin", "log"),
        *("shutdown_delay", "keep_alive"),
        *("tls", "api_keys", "cors_origins", "max_connections", "max_inflight_mb"),
    }
    handed: dict[str, tuple[Any, ...]] = {
        "top": (TOP, host.TOP_KEYS, host.OUR_TOP_KEYS),
        "dag": (DAG, host.DAG_KEYS),
        "op": (OP, host.OP_KEYS, host.OUR_OP_KEYS),
        "local": (LOCAL_SERVICE_CONF, host.LOCAL_KEYS, host.OUR_LOCAL_KEYS),
    }
    for section, (known, *used) in handed.items():
        reached = {key for keys in used for key in keys}
        assert reached <= set(known), section
        assert set(known) - reached <= left_out, section
        for key in reached - {"dag", "op", "local_service_conf", "tracer"}:
            assert isinstance(known[key], Key)


def test_every_key_is_translated_to_what_0_9_checks(
    bundles: Path, official: Any, tmp_path: Path
) -> None:
    tree = yaml.safe_load(EVERY_KEY)
    tree["op"]["imagenet"]["local_service_conf"]["model_config"] = str(bundles / "imagenet")
    (tmp_path / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    plan = plan_of(tmp_path / "config.yml")
    checked = official("check_config", tree=plan.server)
    assert checked["op"]["imagenet"]["batch_size"] == 2
    assert checked["dag"]["is_thread_op"] is False
    assert "dag.retry" in plan.left_out
