"""The services under test: one model twice, each with its own labels, so that a mix-up shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..images import BUNDLE

CLASSES = 6
# Name, workers, categories per image.
SERVICES = (("first", 2, 6), ("second", 1, 3))
TIMEOUT_S = 5.0
RETRIES = 1
QUEUE_SIZE = 64
MAX_BODY_MB = 4


class ServiceFiles:
    """The files that the service reads: configuration and labels, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yml"
        self.write_labels(0)
        self.config.write_text(self._config_text(), encoding="utf-8")

    def labels_file(self, service: str) -> Path:
        """Return the label file of a service."""
        return self.folder / f"{service}.txt"

    def write_labels(self, generation: int) -> None:
        """Write labels that name their service, the number of their reload, and their class."""
        for name, _, _ in SERVICES:
            lines = [f"{name} {generation} {class_id}" for class_id in range(CLASSES)]
            self._replace(self.labels_file(name), "\n".join(lines))

    @contextlib.contextmanager
    def broken(self, how: str) -> Iterator[None]:
        """Write a configuration that a reload must refuse, and restore the right one at the end."""
        sound = self._config_text()
        broken = {
            "no YAML": sound.replace("op:", "op: ]["),
            "an unknown key": sound.replace("timeout:", "tmeout:"),
            "no such bundle": sound.replace(str(BUNDLE), str(self.folder / "nowhere")),
            "too few labels": sound,
        }[how]
        self._replace(self.config, broken)
        labels = self.labels_file(SERVICES[0][0])
        kept = labels.read_text(encoding="utf-8")
        if how == "too few labels":
            self._replace(labels, "one\ntwo")
        try:
            yield
        finally:
            self._replace(labels, kept)
            self._replace(self.config, sound)

    def _config_text(self) -> str:
        lines = [f"max_body_mb: {MAX_BODY_MB}", f"dag: {{channel_size: {QUEUE_SIZE}}}", "op:"]
        for name, workers, topk in SERVICES:
            lines += [
                f"  {name}:",
                f"    concurrency: {workers}",
                f"    topk: {topk}",
                f"    timeout: {TIMEOUT_S * 1000:.0f}",
                f"    retry: {RETRIES}",
                f"    labels: {self.labels_file(name)}",
                f'    local_service_conf: {{model_config: "{BUNDLE}", devices: "", thread_num: 1}}',
            ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        """Replace the file in one step: the service may read it at any moment."""
        beside = path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
