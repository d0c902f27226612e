"""One entry under `op`: its classifier, its engine and the devices of its workers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import BundleError
from bundle.labels import read_labels
from bundle.tuned import CpuFingerprint

from ..classifier import ClassifierSettings
from ..predictors.predictor import PredictorOptions
from ..predictors.registry import AUTO
from .engine import EngineSettings
from .errors import ConfigError
from .tree import ConfigTree
from .tuned import TuningUse, Way, Written, for_gpu, tuned_way

DEFAULT_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class OpSettings:
    """One service: its classifier, its engine and where its workers run."""

    name: str
    classifier: ClassifierSettings
    engine: EngineSettings
    devices: tuple[str, ...]  # one a worker: "cpu" or "gpu:1"
    tuning: TuningUse


def op_settings(
    tree: ConfigTree, name: str, *, queue_size: int, cores: int, cpu: CpuFingerprint
) -> OpSettings:
    """Return the settings of the service `name`, which has `cores` of the machine with `cpu`.

    Raises:
        ConfigError: a bundle or a label file is missing, a tuning is damaged, or keys do not fit
            each other.
    """
    op = tree.values["op"][name]
    gpus = _gpus(tree, name)
    bundle = _bundle(tree, name)
    written = _written(op)
    try:
        if gpus:
            way, tuning = for_gpu(bundle, written, workers=len(gpus), cores=cores)
        else:
            way, tuning = tuned_way(bundle, written, cores=cores, cpu=cpu)
    except BundleError as error:
        raise ConfigError(f"{tree.path}: op.{name}: {error}") from error
    options = _predictor_options(tree, name, way, device="gpu" if gpus else "cpu")
    devices = tuple(f"gpu:{gpus[i % len(gpus)]}" if gpus else "cpu" for i in range(way.workers))
    classifier = _classifier(tree, name, bundle, way, options)
    return OpSettings(name, classifier, _engine(op, way, queue_size), devices, tuning)


def _written(op: Mapping[str, Any]) -> Written:
    local = op["local_service_conf"]
    return Written(
        backend=None if local["backend"] == AUTO else local["backend"],
        precision=local["precision"],
        batch_size=op["batch_size"],
        workers=op["concurrency"],
        threads=local["thread_num"],
        fast_decode=op["fast_decode"],
    )


def _bundle(tree: ConfigTree, name: str) -> Path:
    given, key = tree.values["op"][name]["local_service_conf"]["model_config"], "model_config"
    where = f"op.{name}.local_service_conf.{key}"
    if not given:
        raise ConfigError(
            f"{tree.path}: {where} is missing; give the bundle's folder, for example "
            "serving_model/waste"
        )
    return tree.find(given, where)


def _classifier(
    tree: ConfigTree, name: str, bundle: Path, way: Way, options: PredictorOptions
) -> ClassifierSettings:
    op = tree.values["op"][name]
    where = f"op.{name}"
    labels_file = tree.find(op["labels"], f"{where}.labels") if op["labels"] else None
    labels, digest = None, ""
    if labels_file is not None:
        labels, digest = _labels(labels_file, f"{tree.path}: {where}.labels")
    return ClassifierSettings(
        model_dir=str(bundle),
        backend=way.backend,
        topk=op["topk"] or 0,
        labels=labels,
        labels_file=str(labels_file or ""),
        labels_sha256=digest,
        predictor=options,
        max_image_pixels=op["max_image_pixels"],
        batch_size=way.batch_size,
        classifier=op["classifier"],
        threshold=op["threshold"],
        fast_decode=way.fast_decode,
    )


def _predictor_options(tree: ConfigTree, name: str, way: Way, *, device: str) -> PredictorOptions:
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
        threads=way.threads,
        onednn=local["use_mkldnn"],
        graph_optim=local["ir_optim"],
        memory_optim=local["mem_optim"],
        precision=way.precision,
        form=way.form,
        fetch=fetches[0],
    )


def _engine(op: Mapping[str, Any], way: Way, queue_size: int) -> EngineSettings:
    timeout_ms = DEFAULT_TIMEOUT_MS if op["timeout"] == -1 else op["timeout"]
    wait_ms = op["auto_batching_timeout"]
    return EngineSettings(
        workers=way.workers,
        batch_size=way.batch_size,
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
