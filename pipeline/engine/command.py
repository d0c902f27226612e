"""How a worker is started: its command line, its environment and its first message."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..classifier import ClassifierSettings

# The folder that holds the package `pipeline`. Workers start in it, so that what they import is
# this project also where it is not installed, whatever lies in the service's own folder.
_ROOT = Path(__file__).resolve().parents[2]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """What every worker of an engine runs.

    Attributes:
        settings_json: handed to `factory` in the worker, as it is.
        factory: `module:function`; called with `settings_json`, returns a `building.Answering`.
        devices: worker i computes on `devices[i % len(devices)]`: "cpu", "gpu" or "gpu:1".
        environment: variables on top of the service's own.
    """

    settings_json: str
    factory: str = "pipeline.engine.building:build_classifier"
    devices: tuple[str, ...] = ("cpu",)
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def for_classifier(
        cls, settings: ClassifierSettings, devices: tuple[str, ...] = ("cpu",)
    ) -> WorkerCommand:
        """Run the classifier that `settings` describe."""
        environment = dict.fromkeys(_THREAD_VARIABLES, str(settings.predictor.threads))
        # OpenCV's own refusal of large pictures must not come before ours, nor far behind it.
        environment["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(settings.max_image_pixels)
        return cls(settings.to_json(), devices=devices, environment=environment)

    def arguments(self, descriptor: int) -> list[str]:
        """Return the command line of a worker whose end of the socket is `descriptor`."""
        return [
            sys.executable,
            "-m",
            "pipeline.engine.worker",
            "--fd",
            str(descriptor),
            "--parent",
            str(os.getpid()),
        ]

    @property
    def folder(self) -> Path:
        """The working folder that the command needs to find the package."""
        return _ROOT

    def environment_of(self, index: int) -> dict[str, str]:
        """Return the whole environment of worker `index`."""
        environment = dict(os.environ)
        kind, _, number = self.devices[index % len(self.devices)].partition(":")
        if kind == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        elif number:
            # The worker sees this one device only, as its number 0.
            environment["CUDA_VISIBLE_DEVICES"] = _visible_device(int(number))
        environment["PYTHONUNBUFFERED"] = "1"
        environment.update(self.environment)
        return environment

    def start_message(self) -> dict[str, Any]:
        """Return the header of the first frame."""
        return {
            "kind": "start",
            "factory": self.factory,
            "settings": self.settings_json,
            "folder": str(Path.cwd()),
            "import_path": [str(Path(entry).absolute()) for entry in sys.path],
        }


def _visible_device(number: int) -> str:
    """Return GPU `number` of those that this process may use, "" when there is none such."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(number)
    devices = [device.strip() for device in visible.split(",")]
    return devices[number] if number < len(devices) else ""
