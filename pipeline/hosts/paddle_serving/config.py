"""config.yml of our own engine -> the configuration of Paddle Serving 0.9, and that of our op.

    config.yml -> keys of 0.9 that work there   -> Plan.server, the official server's own mapping
               -> labels, topk, threshold ...   -> Plan.services, for our op
               -> everything else               -> Plan.left_out, reported in one line

Where a key is missing, our default stands in, so that one file means the same on both engines.
Kept clean for Python 3.8.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from bundle import Bundle, BundleError, load_bundle
from bundle.labels import check_count, read_labels
from bundle.model_config import TensorSpec
from bundle.strict_yaml import read_yaml
from pipeline.settings.checks import Check, service_name
from pipeline.settings.paths import Places, working_folder
from pipeline.stages.decode import DEFAULT_MAX_PIXELS

from .errors import ConfigurationError
from .keys import (
    DAG_CHECKS,
    DAG_KEYS,
    LOCAL_CHECKS,
    LOCAL_KEYS,
    OP_CHECKS,
    OP_KEYS,
    OUR_LOCAL_KEYS,
    OUR_OP_KEYS,
    OUR_TOP_KEYS,
    TOP_CHECKS,
    TOP_KEYS,
    TRACER_CHECKS,
)
from .ports import check_ports, set_ports

# 0.9 answers as many requests at a time as it has threads, and its own default is one.
DEFAULT_WORKER_NUM = 32
DEFAULT_MAX_IMAGES = 64
DEFAULT_START_TIMEOUT_S = 120
DEFAULT_METRICS_PORT = 19393


@dataclass(frozen=True)
class ServicePlan:
    """One op of the configuration: the bundle it serves, and how its replies are made."""

    name: str
    bundle: Bundle
    fetch: TensorSpec
    labels: tuple[str, ...] | None
    topk: int
    threshold: float | None
    max_image_pixels: int
    fast_decode: bool
    start_timeout_s: float


@dataclass(frozen=True)
class Plan:
    """What the official server gets, what our ops get, and which keys are left out."""

    server: Mapping[str, Any]
    services: tuple[ServicePlan, ...]
    max_images: int
    left_out: tuple[str, ...]


def plan_of(path: Path) -> Plan:
    """Read `path` and translate it.

    Raises:
        ConfigurationError: a key has a value that 0.9 cannot serve.
        BundleError: the file, a bundle or a label file cannot be read.
    """
    tree = _mapping(read_yaml(path), str(path))
    _check(tree, TOP_CHECKS, path, "")
    ops = _mapping(tree.get("op"), "{}: op".format(path))
    if not ops:
        raise ConfigurationError("{}: op holds no service".format(path))
    left_out = _unknown(tree, "", TOP_KEYS + OUR_TOP_KEYS)
    server = {key: tree[key] for key in TOP_KEYS if tree.get(key) is not None}
    server.setdefault("worker_num", DEFAULT_WORKER_NUM)
    set_ports(server, tree, path)
    server["dag"] = _dag(_mapping(tree.get("dag"), "{}: dag".format(path)), left_out, path)
    check_ports(server, path)
    server["op"] = {}
    services = []
    cores = max(1, len(os.sched_getaffinity(0)) // len(ops))
    for name, given in ops.items():
        _check_name(name, path)
        where = "op.{}".format(name)
        op = _mapping(given, "{}: {}".format(path, where))
        local = _mapping(
            op.get("local_service_conf"), "{}: {}.local_service_conf".format(path, where)
        )
        _check(op, OP_CHECKS, path, where + ".")
        _check(local, LOCAL_CHECKS, path, where + ".local_service_conf.")
        left_out += _unknown(op, where + ".", OP_KEYS + OUR_OP_KEYS)
        left_out += _unknown(local, where + ".local_service_conf.", LOCAL_KEYS + OUR_LOCAL_KEYS)
        service = _service(str(name), op, local, path)
        services.append(service)
        server["op"][service.name] = _op(service, op, local, cores)
    if server["dag"].get("enable_prometheus") and len(services) > 1:
        left_out.append("dag.enable_prometheus of every service but the first")
    max_images = tree.get("max_images") or DEFAULT_MAX_IMAGES
    return Plan(server, tuple(services), max_images, tuple(sorted(left_out)))


def _unknown(tree: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> list[str]:
    return [prefix + str(key) for key in tree if key not in known]


def _check(tree: Mapping[str, Any], checks: Mapping[str, Check], path: Path, prefix: str) -> None:
    """Refuse the first value that is of the wrong kind or out of range; an empty one is none."""
    for key, check in checks.items():
        value = tree.get(key)
        wanted = None if value is None else check(value)
        if wanted is not None:
            raise ConfigurationError(
                "{}: {}{} must be {}, not {!r}".format(path, prefix, key, wanted, value)
            )


def _dag(dag: Mapping[str, Any], left_out: list[str], path: Path) -> dict[str, Any]:
    _check(dag, DAG_CHECKS, path, "dag.")
    tracer = _mapping(dag.get("tracer"), "{}: dag.tracer".format(path))
    _check(tracer, TRACER_CHECKS, path, "dag.tracer.")
    left_out += _unknown(dag, "dag.", (*DAG_KEYS, "is_thread_op"))
    if dag.get("is_thread_op"):
        left_out.append("dag.is_thread_op: True")
    known = {key: dag[key] for key in DAG_KEYS if dag.get(key) is not None}
    if known.get("enable_prometheus"):
        known.setdefault("prometheus_port", DEFAULT_METRICS_PORT)
    # The threads of thread mode share one predictor, and crash under load.
    return {**known, "is_thread_op": False}


def _check_name(name: object, path: Path) -> None:
    wrong = service_name(name)
    if wrong is not None:
        raise ConfigurationError(
            "{}: op: a service is called {!r}; it must be {}".format(path, name, wrong)
        )


def _service(name: str, op: Mapping[str, Any], local: Mapping[str, Any], path: Path) -> ServicePlan:
    where = "{}: op.{}".format(path, name)
    if local.get("client_type", "local_predictor") != "local_predictor" or op.get(
        "server_endpoints"
    ):
        raise ConfigurationError(
            "{}: only client_type: local_predictor is served here, no remote engine".format(where)
        )
    if not local.get("model_config"):
        raise ConfigurationError("{}.local_service_conf.model_config is missing".format(where))
    bundle = load_bundle(_find(local["model_config"], path))
    if not bundle.graph_format.program_desc:
        raise ConfigurationError(
            "{}: 0.9 cannot read {}; export the model as .pdmodel (Paddle 2.6, or Paddle 3 with "
            "FLAGS_enable_pir_api=0), or serve it with pipeline/web_service.py".format(
                where, bundle.model_file.name
            )
        )
    labels = bundle.labels
    if op.get("labels"):
        labels = read_labels(_find(op["labels"], path))
        check_count(labels, bundle.classes, str(op["labels"]))
    threshold = op.get("threshold")
    return ServicePlan(
        name=name,
        bundle=bundle,
        fetch=_fetch(bundle, local.get("fetch_list") or op.get("fetch_list"), where),
        labels=labels,
        topk=op.get("topk") or bundle.description.topk,
        threshold=threshold,
        max_image_pixels=op.get("max_image_pixels") or DEFAULT_MAX_PIXELS,
        fast_decode=bool(op.get("fast_decode")),
        start_timeout_s=float(op.get("start_timeout") or DEFAULT_START_TIMEOUT_S),
    )


def _fetch(bundle: Bundle, listed: list[str] | None, where: str) -> TensorSpec:
    """Return the fetch to answer from: the listed one, else the bundle's own."""
    fetches = bundle.model_config.fetches
    if len(listed or ()) > 1:
        raise ConfigurationError("{}: fetch_list: give the one to answer from".format(where))
    if not listed:
        return fetches[bundle.model_config.answering]
    named = [fetch for fetch in fetches if fetch.alias == listed[0]]
    if not named:
        raise ConfigurationError(
            "{}: fetch_list: the model has no fetch {!r}; it has {}".format(
                where, listed[0], ", ".join(fetch.alias for fetch in fetches)
            )
        )
    return named[0]


def _op(
    service: ServicePlan, op: Mapping[str, Any], local: Mapping[str, Any], cores: int
) -> dict[str, Any]:
    conf = {key: op[key] for key in OP_KEYS if op.get(key) is not None}
    conf.setdefault("concurrency", cores)
    conf["retry"] = max(1, conf.get("retry", 1))
    wait_ms = int(conf.get("auto_batching_timeout", -1))
    conf["auto_batching_timeout"] = wait_ms
    if wait_ms <= 0:
        # Without a time to wait, 0.9 waits for the batch to be full, for ever.
        conf["batch_size"] = 1
    predictor = {key: local[key] for key in LOCAL_KEYS if local.get(key) is not None}
    predictor["devices"] = str(predictor.get("devices", ""))
    predictor.setdefault("thread_num", max(1, cores // conf["concurrency"]))
    for key in ("ir_optim", "use_mkldnn"):
        predictor.setdefault(key, True)
    predictor["client_type"] = "local_predictor"
    predictor["model_config"] = str(service.bundle.server_dir)
    conf["local_service_conf"] = predictor
    return conf


def _find(given: str, path: Path) -> Path:
    """Return the real path of what exists; see `settings.paths`."""
    places = Places(path, working_folder())
    found = places.find(given, "")
    if found is None:
        raise BundleError("{}: {}".format(path, places.missing(given)))
    return found


def _mapping(value: object, name: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError("{} must hold keys, not {!r}".format(name, value))
    return value or {}
