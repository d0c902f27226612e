"""`--check`: everything that a start does, with one worker and one image, and no service."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from protocol.errors import ServingError
from protocol.escaping import escaped_line
from protocol.reply import Category
from protocol.request import encoded

from .admission.tls import Tls
from .engine.engine import Engine
from .engine.memory import guess_bytes, room_beside
from .hosts.engines import engine_of
from .hosts.ports import open_ports
from .settings.config import ServiceSettings
from .settings.errors import ConfigError
from .settings.machine import Machine
from .settings.op import OpSettings
from .summary import Described, summary


async def check_settings(settings: ServiceSettings) -> int:
    """Open the ports, start one worker a service, predict once, print what would be served.

    Raises:
        ConfigError: a port is in use, a certificate is wrong, or a service does not answer.
        EngineStartError: the worker of a service cannot start.
    """
    if settings.access.tls is not None:
        Tls(settings.access.tls)
    ports = open_ports(settings)
    ports.close()
    engines: dict[str, Described] = {}
    lines: list[str] = []
    for op in settings.ops:
        one = dataclasses.replace(op, engine=dataclasses.replace(op.engine, workers=1))
        engine = engine_of(one)
        try:
            await engine.start()
            lines.append(await _predict_once(op.name, engine))
            lines += await asyncio.to_thread(_size_warnings, op, engine)
            engines[op.name] = _Planned(engine.facts, op.engine.workers)
        finally:
            await engine.close()
    headline = f"{settings.source} can be served:"
    print(summary(settings, engines, ports.addresses, headline))
    print("\n".join(lines))
    return 0


@dataclasses.dataclass(frozen=True)
class _Planned:
    """An engine as it would be."""

    facts: Mapping[str, Any]
    size: int


def _size_warnings(op: OpSettings, engine: Engine) -> list[str]:
    """Return what of the workers the machine, or the container, has not got."""
    machine = Machine()
    cores, threads = machine.cores(), op.classifier.predictor.threads
    workers = op.engine.workers
    warnings = []
    if "cpu" in op.devices and workers * threads > max(1.0, cores):
        warnings.append(
            f"warning: op.{op.name}: {workers} workers x {threads} "
            f"thread{'s' if threads != 1 else ''} for {cores:g} core{'s' if cores != 1 else ''} "
            "that this process may use: they make each other slower; set concurrency or "
            "thread_num lower"
        )
    room = room_beside(engine.status().workers[0].pid, guess_bytes(1, 0), machine)
    if room.more is not None and 1 + room.more < workers:
        warnings.append(
            f"warning: op.{op.name}: {1 + room.more} of {workers} workers have room "
            f"({room.text}); set concurrency lower, or give more memory"
        )
    return warnings


async def _predict_once(name: str, engine: Engine) -> str:
    grey = np.full((256, 256, 3), 127, np.uint8)
    image = cv2.imencode(".png", grey)[1].tobytes()
    started = time.perf_counter()
    try:
        (result,) = await engine.classify(encoded([image]))
    except ServingError as error:
        raise ConfigError(f"service {name} does not answer: {error}") from error
    if isinstance(result, ServingError):
        raise ConfigError(f"service {name} does not answer: {result}")
    best = "no class reaches the threshold"
    if result:
        best = f"{_class_of(result[0])}, score {result[0].score:.3f}"
    elapsed_ms = 1e3 * (time.perf_counter() - started)
    return f"  {name}: one prediction of a grey image took {elapsed_ms:.1f} ms ({best})"


def _class_of(category: Category) -> str:
    """Return the number of the class, and its label if it has another."""
    number = f"class {category.class_id}"
    own = category.label != str(category.class_id)
    return f"{number}, label {escaped_line(category.label)}" if own else number
