"""`--check`: everything that a start does, with one worker and one image, and no service."""

from __future__ import annotations

import dataclasses
import time

import cv2
import numpy as np

from protocol.errors import ServingError
from protocol.reply import Category
from protocol.request import encoded

from .admission.tls import Tls
from .engine.engine import Engine
from .hosts.engines import engine_of
from .hosts.ports import open_ports
from .settings.config import ServiceSettings
from .settings.errors import ConfigError
from .summary import summary


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
    engines = {}
    lines = []
    for op in settings.ops:
        one = dataclasses.replace(op, engine=dataclasses.replace(op.engine, workers=1))
        engine = engine_of(one)
        try:
            await engine.start()
            lines.append(await _predict_once(op.name, engine))
            engines[op.name] = engine
        finally:
            await engine.close()
    headline = f"{settings.source} can be served:"
    print(summary(settings, engines, ports.addresses, headline))
    print("\n".join(lines))
    return 0


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
    return f"{number}, label {category.label}" if own else number
