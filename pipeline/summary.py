"""The block that is printed when the service is ready: what is served, where, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from protocol.escaping import escaped_line

from .classifier import ClassifierSettings
from .engine.work import misfit
from .hosts.ports import Addresses, authority
from .settings.config import ServiceSettings
from .settings.op import OpSettings

_OWN_CLASSIFIER = ClassifierSettings(model_dir="").classifier


class Described(Protocol):
    """An engine as the block needs it."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a worker reported about its model; see `pipeline.classifier`."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...


def summary(
    settings: ServiceSettings,
    engines: Mapping[str, Described],
    addresses: Addresses,
    headline: str,
) -> str:
    """Return the block; `addresses` are those that were really opened."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    scheme = "https" if addresses.tls else "http"
    rows: list[tuple[str, str]] = []
    for op in settings.ops:
        facts = engines[op.name].facts
        rows.append((f"service {op.name}", _model(op, facts)))
        if op.classifier.classifier != _OWN_CLASSIFIER:
            rows.append(("  class", op.classifier.classifier))
        if addresses.http_port is not None:
            http = f"{scheme}://{authority(host, addresses.http_port)}"
            rows.append(("  http", f"POST {http}/{op.name}/prediction"))
        if addresses.rpc_port is not None:
            tls = ", TLS" if addresses.tls else ""
            rpc = authority(host, addresses.rpc_port)
            rows.append(("  rpc", f'{rpc}, name "{op.name}"{tls}'))
        workers = engines[op.name].size
        rows.append(("  workers", _workers(op, facts, workers)))
        if op.tuning.text:
            rows.append(("  tuning", op.tuning.text))
        too_slow = misfit(facts, op.engine, workers)
        if too_slow is not None:
            rows.append(("  warning", too_slow))
    if addresses.metrics_port is not None:
        metrics = authority(host, addresses.metrics_port)
        rows.append(("metrics", f"http://{metrics}/metrics"))
    if addresses.admin is not None:
        rows.append(("admin", f"{addresses.admin} (/metrics, /-/status, /-/reload)"))
    if addresses.http_port is not None:
        health = authority(host, addresses.http_port)
        rows.append(("health", f"{scheme}://{health}/health/ready"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [headline, *(f"  {name:<{width}}  {escaped_line(text)}" for name, text in rows)]
    )


def _model(op: OpSettings, facts: Mapping[str, Any]) -> str:
    name = facts.get("model") or op.classifier.model_dir
    classes = f"{facts['classes']} classes" if facts.get("classes", -1) > 0 else "classes not known"
    return f"{name}, {classes}, from {op.classifier.model_dir}"


def _workers(op: OpSettings, facts: Mapping[str, Any], workers: int) -> str:
    devices = ", ".join(dict.fromkeys(op.devices))
    threads = op.classifier.predictor.threads
    wanted = op.engine.workers
    count = f"{workers}" if workers == wanted else f"{workers} (of {wanted}, memory is short)"
    size = f"{count} x {threads} thread{'s' if threads != 1 else ''}"
    backend = facts.get("backend", op.classifier.backend)
    form = f", form {facts['form']}" if "form" in facts else ""
    return f"{size} on {devices}, {backend}{form}, batches of up to {op.engine.batch_size}"
