from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.settings.config import ServiceSettings, load_settings
from pipeline.settings.errors import ConfigError

CONFIG = """
http_port: 18080
rpc_port: 9993
op:
  waste:
    local_service_conf:
      model_config: model
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, text: str = CONFIG, *overrides: str) -> ServiceSettings:
    path = folder / "config.yml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, overrides)


def test_the_least_configuration_gets_the_fast_defaults(folder: Path) -> None:
    settings = load(folder)
    (op,) = settings.ops
    assert (settings.http_port, settings.rpc_port, settings.warning) == (18080, 9993, None)
    assert op.name == "waste"
    assert Path(op.classifier.model_dir) == folder / "model"
    options = op.classifier.predictor
    assert (options.device, options.onednn, options.graph_optim) == ("cpu", True, True)
    assert op.engine.workers * options.threads >= 1
    assert (op.engine.batch_size, op.engine.retries, op.engine.timeout_s) == (8, 1, 10.0)
    assert op.engine.queue_size == 256
    assert op.engine.auto_batching_timeout_s is None


def test_the_keys_of_0_9_keep_their_meaning(folder: Path) -> None:
    text = """
http_port: 18081
op:
  waste:
    concurrency: 3
    timeout: 3000
    retry: 2
    batch_size: 4
    auto_batching_timeout: 20
    local_service_conf:
      client_type: local_predictor
      model_config: model
      devices: "0,1"
      device_type: 1
      thread_num: 2
      ir_optim: False
      mem_optim: False
      use_mkldnn: False
      precision: fp16
      fetch_list: ["prediction"]
dag:
  channel_size: 10
"""
    settings = load(folder, text)
    (op,) = settings.ops
    assert settings.rpc_port == 18082  # documented by 0.9: http_port + 1
    assert op.devices == ("gpu:0", "gpu:1", "gpu:0")
    assert (op.engine.workers, op.engine.retries, op.engine.batch_size) == (3, 2, 4)
    assert (op.engine.timeout_s, op.engine.auto_batching_timeout_s) == (3.0, 0.02)
    assert op.engine.queue_size == 10
    options = op.classifier.predictor
    assert (options.device, options.threads, options.precision) == ("gpu", 2, "fp16")
    assert (options.graph_optim, options.memory_optim, options.onednn) == (False, False, False)
    assert options.fetch == "prediction"


def test_the_dropped_bound_of_the_request_log_is_accepted_with_a_warning(folder: Path) -> None:
    settings = load(folder, CONFIG + "log: {level: info, requests_a_second: 7}\n")
    assert settings.log.level == "info"
    assert settings.warning is not None
    assert "log.requests_a_second: the request log has its own bound" in settings.warning


def test_keys_without_effect_are_named_in_one_warning(folder: Path) -> None:
    text = CONFIG + "worker_num: 1\nbuild_dag_each_worker: false\ndag: {is_thread_op: false}\n"
    warning = load(folder, text).warning
    assert warning is not None
    assert "worker_num: the service is one event loop" in warning
    assert "dag.is_thread_op" in warning


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("http_prot=1", "unknown key http_prot; did you mean http_port?"),
        ("op.waste.concurency=1", "did you mean op.waste.concurrency?"),
        ("op.waste.local_service_conf.thread_nums=1", "local_service_conf.thread_num?"),
        ("zzz=1", "unknown key zzz; known: http_port"),
        ("op.waste.devices=1", "it belongs in op.<service>.local_service_conf; check the indent"),
        ("op.waste.concurrency=0", "op.waste.concurrency must be a whole number from 1 to 256"),
        ("op.waste.concurrency=two", "not 'two'"),
        ("op.waste.concurrency=true", "not True"),
        ("http_port=70000", "http_port must be a whole number from 1 to 65535"),
        ("http_port=9993", "http_port and rpc_port are both 9993"),
        ("op.waste.local_service_conf.client_type=brpc", "not served by this engine"),
        ("op.waste.local_service_conf.device_type=2", "not served by this engine"),
        ("op.waste.local_service_conf.device_type=1", 'write devices: "0"'),
        ("op.waste.local_service_conf.devices=gpu", "GPU numbers"),
        ("op.waste.local_service_conf.precision=int8", "one of fp32, fp16, bf16"),
        ("op.waste.local_service_conf.model_config=", "model_config must be a text"),
        ("op.waste.local_service_conf.model_config=nowhere", "there is no nowhere"),
        ("op.waste.labels=nowhere.txt", "op.waste.labels: there is no nowhere.txt"),
        ("op.waste.local_service_conf.fetch_list=[a, b]", "fetch_list names 2 outputs"),
        ("op.waste.threshold=1.5", "a number from 0 to 1"),
        ("op.waste=5", "op.waste must hold keys"),
        ("op.waste.classifier=pipeline.classifier", "op.waste.classifier must be module:Class"),
        ("op.waste.classifier=a:b:c", "must be module:Class, for example"),
        ("op.waste.classifier='my file.py:X'", "must be module:Class, for example"),
        ("op.peach.topk=5", "no service 'peach'; there are: waste"),
        ("op=", "op holds no service"),
        ("cors_origins=*", "-o cors_origins=*: the value is not YAML"),
        ("http_port=!!int x", "-o http_port=!!int x: the value is not YAML"),
        *(
            (f"cors_origins=['{wrong}']", "cors_origins must be a list of origins as a browser")
            for wrong in (
                "shop.example",
                "https://shop.example/",
                "https://shop.example/page",
                "https://Shop.example",
                "https://*.shop.example",
                "null",
                "",
            )
        ),
        ("http_port", "write KEY=VALUE"),
        ("http_port.x=1", "http_port holds a value, not keys"),
    ],
)
def test_a_wrong_key_or_value_is_named(folder: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, CONFIG, override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown", "message"),
    [
        ("a/b", "'a/b'", "may stand in /<service>/prediction"),
        ("a\\b", "'a\\\\b'", "may stand in"),
        ("'a?b'", "'a?b'", "may stand in"),
        ("'a#b'", "'a#b'", "may stand in"),
        ("50%", "'50%'", "may stand in"),
        ("'..'", "'..'", "may stand in"),
        ("''", "''", "may stand in"),
        ("' a'", "' a'", "without a blank at an end"),
        ('"a\\tb"', "'a\\tb'", "may stand in"),
        ("yes", "True", "put it in quotes"),
        ("null", "None", "put it in quotes"),
        ("1.50", "1.5", "put it in quotes"),
    ],
)
def test_a_service_that_no_address_reaches_is_refused(
    folder: Path, name: str, shown: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, CONFIG.replace("waste:", f"{name}:"))
    assert f"op: a service is called {shown}; it must be" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["265", "垃圾", "a b", "v1.2", "a-b_c~d+e@f", "'yes'"])
def test_names_of_services_that_addresses_reach(folder: Path, name: str) -> None:
    (op,) = load(folder, CONFIG.replace("waste:", f"{name}:")).ops
    assert op.name == name.strip("'")


def test_a_limit_of_all_requests_below_that_of_one_is_said(folder: Path) -> None:
    warning = load(folder, CONFIG, "max_body_mb=600").warning
    assert warning is not None
    assert "max_inflight_mb is 512, less than max_body_mb; 600 MiB count" in warning
    assert load(folder, CONFIG, "max_body_mb=512").warning is None


def test_overrides_reach_keys_that_the_file_leaves_out(folder: Path) -> None:
    settings = load(
        folder,
        CONFIG,
        "op.waste.labels=labels.txt",
        "op.waste.topk=3",
        "dag.channel_size=7",
        "rpc_port=",
        "op.waste.local_service_conf.thread_num=2",
    )
    (op,) = settings.ops
    assert op.classifier.labels_file == str(folder / "labels.txt")
    assert op.classifier.labels == ("a", "b")
    assert (op.classifier.topk, op.engine.queue_size) == (3, 7)
    assert settings.rpc_port is None


def test_no_port_at_all_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="give http_port, rpc_port or both"):
        load(folder, CONFIG, "http_port=", "rpc_port=")


def test_origins_as_browsers_send_them(folder: Path) -> None:
    origins = [
        "https://shop.example",
        "http://127.0.0.1:8000",
        "http://[::1]:80",
        "app://shop",
        "*",
    ]
    settings = load(folder, f"{CONFIG}cors_origins: {origins}\n")
    assert settings.access.cors_origins == tuple(origins)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold keys"),
        ("- a\n", "must hold keys"),
        ("a: [", "cannot be read as YAML"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        ("http_port: !!int x", "has a value that does not fit its tag"),
        ("http_port: !!timestamp x", "has a value that does not fit its tag"),
        ("http_port: " + "[" * 1000, "more than 64 levels deep"),
        ("http_port: 9292\nhttp_port: 9393", "'http_port' is given twice at line 2"),
    ],
)
def test_a_file_that_is_no_configuration(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(folder, text)


def test_a_file_that_is_missing_or_of_another_encoding(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*none\.yml; check the path"):
        load_settings(folder / "none.yml")
    (folder / "gbk.yml").write_bytes("# 垃圾\n".encode("gbk"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(folder / "gbk.yml")


def test_paths_are_found_from_the_folder_above_the_configuration(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "configs").mkdir()
    (folder / "configs" / "mine.yml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir("/")
    (op,) = load_settings(folder / "configs" / "mine.yml").ops
    assert Path(op.classifier.model_dir) == folder / "model"


def test_every_configuration_of_the_project_loads(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "configs", tmp_path / "configs")
    shutil.copytree(root / "labels", tmp_path / "labels")
    paths = sorted((tmp_path / "configs").glob("*.yml"))
    assert paths
    for path in paths:
        # Readers convert the bundles of the deployments themselves.
        (tmp_path / "serving_model" / path.stem).mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        (op,) = load_settings(path).ops
        assert Path(op.classifier.model_dir) == tmp_path / "serving_model" / path.stem


def test_the_official_configuration_loads(
    shared: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared / "models" / "serving_uci_housing")
    settings = load_settings(shared / "models" / "serving_uci_housing" / "config_cpu.yml")
    assert settings.ops[0].classifier.model_dir.endswith("uci_housing_model")
