"""What a peer is: how it is started with one model, and which of its settings are tried."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from ..bare import ROOT
from .models import Model


@dataclass(frozen=True)
class Setting:
    """Batching as a peer has it: most images in a batch, and how long it waits to fill one."""

    batch_size: int = 1
    wait_ms: int = 0

    def __str__(self) -> str:
        """Return it for the table."""
        if self.batch_size == 1:
            return "one by one"
        return f"batches of {self.batch_size}" + (f", {self.wait_ms} ms" if self.wait_ms else "")


@dataclass(frozen=True)
class Start:
    """What a peer is started with; `folder` is for its files and its log."""

    model: Model
    runtime: str
    workers: int
    setting: Setting
    port: int
    folder: Path


@dataclass(frozen=True)
class Launch:
    """A command with additions to the environment; `folder` is where it runs."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT


@dataclass(frozen=True)
class Peer(ABC):
    """One service to measure.

    Attributes:
        name: its option on the command line.
        title: its name in the table.
        form: of its requests and replies (`benchmarks.http_forms`).
        path: of its HTTP requests.
        package: its distribution, whose version is shown.
        environment: the folder of its environment; "" is our own.
        install: the command that makes the environment.
        runtimes: what it can predict with.
        settings: which of its batching are tried; the best is measured.
        tolerance: of a score, where the peer rounds it or prepares images by its own code.
        note: what a reader of the table must know.
        own: this project's service.
    """

    name: str
    title: str
    form: str
    path: str
    package: str = ""
    environment: str = ""
    install: str = "make peers-env"
    runtimes: tuple[str, ...] = ("onnxruntime", "paddle")
    settings: tuple[Setting, ...] = (Setting(),)
    tolerance: float = 1e-3
    note: str = ""
    own: bool = False

    @abstractmethod
    def launch(self, start: Start) -> Launch:
        """Write the files that the peer needs and return its command.

        Raises:
            PeerError: the model cannot be given to it.
        """

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        if not self.environment:
            return Path(sys.executable)
        return ROOT / self.environment / "bin" / "python"

    def missing(self) -> str:
        """Return why it cannot be started here; "" if it can."""
        if self.python.is_file():
            return ""
        return f"not installed: no {self.environment}; run `{self.install}`"


class PeerError(Exception):
    """A peer cannot be measured; the text is the reason that the table shows."""


def function_environment(start: Start) -> dict[str, str]:
    """Return what `servers/function.py` reads."""
    return {
        "PEER_BUNDLE": str(start.model.form(start.runtime)),
        "PEER_BACKEND": start.runtime,
        "PEER_PORT": str(start.port),
        "PEER_WORKERS": str(start.workers),
        "PEER_BATCH_SIZE": str(start.setting.batch_size),
        "PEER_WAIT_MS": str(start.setting.wait_ms),
    }


def settings(*pairs: tuple[int, int]) -> tuple[Setting, ...]:
    """Return settings of (batch size, milliseconds to wait)."""
    return tuple(Setting(*pair) for pair in pairs)
