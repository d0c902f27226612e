"""The block that is printed when the service is ready: what is served, where, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .config import OpSettings, ServiceSettings


class Told(Protocol):
    """What the block needs of an engine."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a worker told about its model; see `pipeline.classifier`."""
        ...


def summary(
    settings: ServiceSettings,
    engines: Mapping[str, Told],
    http_port: int | None,
    rpc_port: int | None,
    headline: str,
) -> str:
    """Return the block; ports are those that were really opened."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    rows: list[tuple[str, str]] = []
    for op in settings.ops:
        facts = engines[op.name].facts
        rows.append((f"service {op.name}", _model(op, facts)))
        if http_port is not None:
            rows.append(("  http", f"POST http://{host}:{http_port}/{op.name}/prediction"))
        if rpc_port is not None:
            rows.append(("  rpc", f'{host}:{rpc_port}, name "{op.name}"'))
        rows.append(("  workers", _workers(op, facts)))
    if http_port is not None:
        rows.append(("health", f"http://{host}:{http_port}/health/ready"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([headline, *(f"  {name:<{width}}  {text}" for name, text in rows)])


def _model(op: OpSettings, facts: Mapping[str, Any]) -> str:
    name = facts.get("model") or op.classifier.model_dir
    classes = f"{facts['classes']} classes" if facts.get("classes", -1) > 0 else "classes not known"
    return f"{name}, {classes}, from {op.classifier.model_dir}"


def _workers(op: OpSettings, facts: Mapping[str, Any]) -> str:
    devices = ", ".join(dict.fromkeys(op.devices))
    threads = op.classifier.predictor.threads
    size = f"{op.engine.workers} x {threads} thread{'s' if threads != 1 else ''}"
    backend = facts.get("backend", op.classifier.backend)
    return f"{size} on {devices}, {backend}, batches of up to {op.engine.batch_size}"
