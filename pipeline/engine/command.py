"""How a worker is started: its command line, its environment and its first message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.bundle import served_paths

from ..predictors.onnx_library import NO_TELEMETRY
from .folders import PYTHON, ROOT, real_import_path, real_working_folder
from .served_files import ServedFiles, mark_files

if TYPE_CHECKING:
    from ..classifier import ClassifierSettings

# Variables that begin so may hold secrets (API keys of callers, headers of a trace collector), and
# no worker needs them. Workers decode data of strangers, so they get no secrets.
_SECRET_PREFIXES = ("PADDLE_SERVING_KIT_API_KEY", "OTEL_")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """What every worker of an engine runs.

    Attributes:
        settings_json: handed to `factory` in the worker, as it is.
        factory: `module:function`; called with `settings_json`, returns a `building.Answering`.
        devices: worker i computes on `devices[i % len(devices)]`: "cpu", "gpu" or "gpu:1".
        environment: variables on top of the service's own, which come without its secrets.
        roots: files and folders whose content all workers must find the same.
        files: what lies under `roots`, once `marked`.
        working: the working folder of the workers, once `marked`; None where it is gone.
        import_path: what workers add to their `sys.path`, once `marked`.
    """

    settings_json: str
    factory: str = "pipeline.engine.building:build_classifier"
    devices: tuple[str, ...] = ("cpu",)
    environment: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    files: ServedFiles | None = None
    working: str | None = None
    import_path: tuple[str, ...] = ()

    @classmethod
    def for_classifier(
        cls, settings: ClassifierSettings, devices: tuple[str, ...] = ("cpu",)
    ) -> WorkerCommand:
        """Run the classifier that `settings` describe."""
        environment = dict.fromkeys(_THREAD_VARIABLES, str(settings.predictor.threads))
        # OpenCV's own limit on pixels must not refuse an image before ours does, nor lie far above.
        environment["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(settings.max_image_pixels)
        roots = tuple(map(str, served_paths(Path(settings.model_dir))))
        return cls(settings.to_json(), devices=devices, environment=environment, roots=roots)

    def marked(self) -> WorkerCommand:
        """Return the command for workers that take files and folders as they are now, or none.

        Reads each file once, which takes its time.
        """
        return replace(
            self,
            files=mark_files(self.roots),
            working=real_working_folder(),
            import_path=real_import_path(),
        )

    def arguments(self, descriptor: int) -> list[str]:
        """Return the command line of a worker whose end of the socket is `descriptor`."""
        return [
            PYTHON,
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
        return ROOT

    def environment_of(self, index: int) -> dict[str, str]:
        """Return the whole environment of worker `index`: the service's own without its secrets."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_SECRET_PREFIXES)
        }
        kind, _, number = self.devices[index % len(self.devices)].partition(":")
        if kind == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        elif number:
            # The worker sees this one device only, as its number 0.
            environment["CUDA_VISIBLE_DEVICES"] = _visible_device(int(number))
        environment["PYTHONUNBUFFERED"] = "1"
        # A classifier of the user's own may import ONNX Runtime itself.
        environment = {**NO_TELEMETRY, **environment}
        environment.update(self.environment)
        return environment

    def start_message(self, log_token: str) -> dict[str, Any]:
        """Return the header of the first frame; with `log_token` the worker marks its log."""
        return {
            "kind": "start",
            "factory": self.factory,
            "settings": self.settings_json,
            "files": None if self.files is None else self.files.header(),
            "log_token": log_token,
            "folder": self.working,
            "import_path": self.import_path,
        }


def _visible_device(number: int) -> str:
    """Return GPU `number` of those that this process may use, "" when there is none such."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(number)
    devices = [device.strip() for device in visible.split(",")]
    return devices[number] if number < len(devices) else ""
