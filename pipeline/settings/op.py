"""One entry under `op`: its classifier, its engine and the devices of its workers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import BundleError
from bundle.labels import read_labels

from ..classifier import ClassifierSettings
from ..predictors.predictor import PredictorOptions
from .engine import EngineSettings
from .errors import ConfigError
from .tree import ConfigTree

DEFAULT_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class OpSettings:
    """One service: its classifier, its engine and where its workers run."""

    name: str
    classifier: ClassifierSettings
    engine: EngineSettings
    devices: tuple[str, ...]  # one a worker: "cpu" or "gpu:1"


def op_settings(tree: ConfigTree, name: str, *, queue_size: int, cores: int) -> OpSettings:
    """Return the settings of the service `name`, which has `cores` of the machine.

    Raises:
        ConfigError: a bundle or a label file is missing, or keys do not fit each other.
    """
    op = tree.values["op"][name]
    gpus = _gpus(tree, name)
    workers = op["concurrency"] or len(gpus) or cores
    threads = op["local_service_conf"]["thread_num"] or max(1, cores // workers)
    options = _predictor_options(tree, name, device="gpu" if gpus else "cpu", threads=threads)
    devices = tuple(f"gpu:{gpus[i % len(gpus)]}" if gpus else "cpu" for i in range(workers))
    return OpSettings(
        name, _classifier(tree, name, options), _engine(op, workers, queue_size), devices
    )


def _classifier(tree: ConfigTree, name: str, options: PredictorOptions) -> ClassifierSettings:
    op = tree.values["op"][name]
    local = op["local_service_conf"]
    where = f"op.{name}"
    if not local["model_config"]:
        raise ConfigError(
            f"{tree.path}: {where}.local_service_conf.model_config is missing; "
            "give the bundle's folder, for example serving_model/waste"
        )
    labels_file = tree.find(op["labels"], f"{where}.labels") if op["labels"] else None
    labels, digest = None, ""
    if labels_file is not None:
        labels, digest = _labels(labels_file, f"{tree.path}: {where}.labels")
    bundle = tree.find(local["model_config"], f"{where}.local_service_conf.model_config")
    return ClassifierSettings(
        model_dir=str(bundle),
        backend=local["backend"],
        topk=op["topk"] or 0,
        labels=labels,
        labels_file=str(labels_file or ""),
        labels_sha256=digest,
        predictor=options,
        max_image_pixels=op["max_image_pixels"],
        batch_size=op["batch_size"],
        classifier=op["classifier"],
        threshold=op["threshold"],
        fast_decode=op["fast_decode"],
    )


def _predictor_options(
    tree: ConfigTree, name: str, *, device: str, threads: int
) -> PredictorOptions:
    op = tree.values["op"][name]
    local = op["local_service_conf"]
    fetches = local["fetch_list"] or op["fetch_list"] or [None]
    if len(fetches) > 1:
        raise ConfigError(
            f"{tree.path}: op.{name}: fetch_list names {len(fetches)} outputs; "
            "give the one to answer from"
        )
    return PredictorOptions(
        device=device,
        threads=threads,
        onednn=local["use_mkldnn"],
        graph_optim=local["ir_optim"],
        memory_optim=local["mem_optim"],
        precision=local["precision"],
        fetch=fetches[0],
    )


def _engine(op: Mapping[str, Any], workers: int, queue_size: int) -> EngineSettings:
    timeout_ms = DEFAULT_TIMEOUT_MS if op["timeout"] == -1 else op["timeout"]
    wait_ms = op["auto_batching_timeout"]
    return EngineSettings(
        workers=workers,
        batch_size=op["batch_size"],
        auto_batching_timeout_s=wait_ms / 1000 if wait_ms > 0 else None,
        queue_size=queue_size,
        timeout_s=timeout_ms / 1000,
        retries=op["retry"],
        start_timeout_s=float(op["start_timeout"]),
        max_image_megapixels=op["max_image_pixels"] / 1e6,
    )


def _gpus(tree: ConfigTree, name: str) -> tuple[int, ...]:
    """Return the GPU numbers to use; none means the CPU."""
    local = tree.values["op"][name]["local_service_conf"]
    listed = tuple(int(part) for part in str(local["devices"]).split(",") if part.strip().isdigit())
    if local["device_type"] == 0:
        return ()
    if local["device_type"] == 1 and not listed:
        raise ConfigError(
            f"{tree.path}: op.{name}.local_service_conf.device_type is 1 (GPU) and devices is "
            'empty; write devices: "0"'
        )
    return listed


def _labels(file: Path, where: str) -> tuple[tuple[str, ...], str]:
    """Return the labels of a file, and the SHA-256 of its bytes."""
    try:
        return read_labels(file), hashlib.sha256(file.read_bytes()).hexdigest()
    except (BundleError, OSError) as error:
        raise ConfigError(f"{where}: {error}") from error
