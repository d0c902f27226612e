"""Classifiers without a model, for workers that the engine's tests start.

The worker finds this module through PYTHONPATH. An image is a text such as b"echo:7"; the part
before the colon says what shall happen to it, the label that comes back is the whole text.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protocol.errors import UndecodableImage
from protocol.reply import Category, ImageResult
from protocol.request import EncodedImage


class Fake:
    """Answers each image with its own text, after doing what the text asks for."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._delay_s = settings.get("delay_s", 0.0)
        self._log = settings.get("log")
        self.facts = {"backend": "fake", **settings.get("facts", {})}
        self.stages_s: dict[str, float] = {}

    rest_after_s = None

    def rest(self) -> None:
        pass

    def answer(
        self, images: Sequence[EncodedImage], budgets_s: Sequence[tuple[float, float, bool]]
    ) -> Sequence[ImageResult]:
        if self._log:
            texts = [image.data.decode(errors="replace")[:80] for image in images]
            with Path(self._log).open("a") as log:
                log.write(json.dumps([os.getpid(), texts]) + "\n")
        results = [self._one(*image) for image in images]
        if any(image.data.startswith(b"rows") for image in images):
            results.pop()
        return results

    def _one(self, image: bytes, topk: int | None, threshold: float | None) -> ImageResult:
        time.sleep(self._delay_s)
        what, _, argument = image[:80].decode(errors="replace").partition(":")
        if what == "bad":
            return UndecodableImage("this is no image")
        if what == "raise":
            raise RuntimeError(f"a fault over {argument}")
        if what == "raise-long":
            raise RuntimeError("x" * 1_000_000)
        self._disturb(what, argument)
        label = image.decode() if len(image) <= 80 else f"{image[:70].decode()}+{len(image)}"
        best = Category(len(image), label, threshold if threshold is not None else 0.5)
        return tuple([best] * (topk or 1))

    def _disturb(self, what: str, argument: str) -> None:
        if what == "sleep":
            time.sleep(float(argument))
        elif what == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            time.sleep(3600)
        elif what == "die":
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "segfault":
            ctypes.string_at(0)
        elif what == "abort":
            os.abort()
        elif what == "starve":
            # As under a limit of a container or of ulimit: little more than there is now.
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            limit = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, limit[1]))
            try:
                bytearray(2**30)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limit)
        elif what == "exit":
            raise SystemExit(3)
        elif what == "exit-slowly":
            atexit.register(time.sleep, 0.5)
            raise SystemExit(3)
        elif what == "hang-up":
            os.closerange(3, 256)
            time.sleep(3600)
        elif what == "print":
            print(argument, flush=True)
        elif what == "warn":
            logging.getLogger("mine").warning("%s", argument)
        elif what == "flood":
            for number in range(int(argument)):
                print("flood", number, "x" * 100)
        elif what == "die-once":
            marker = Path(argument)
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)


def build(settings_json: str) -> Fake:
    """The factory: settings may ask for a start that is slow, hangs or fails."""
    settings = json.loads(settings_json)
    time.sleep(settings.get("start_s", 0.0))
    while settings.get("hang_if") and Path(settings["hang_if"]).exists():
        time.sleep(0.02)
    for key in ("fail_if", "exit_if"):
        if settings.get(key) and Path(settings[key]).exists():
            if key == "exit_if":
                print("the library is missing", file=sys.stderr, flush=True)
                os._exit(7)
            raise RuntimeError("the model\nis broken")
    return Fake(settings)


def build_environment(settings_json: str) -> Fake:
    """A classifier whose facts are its environment and working folder."""
    names = json.loads(settings_json)["names"]
    facts = {name: os.environ.get(name) for name in names}
    return Fake({"facts": {**facts, "folder": str(Path.cwd()), "session": os.getsid(0)}})


def build_forking(settings_json: str) -> Fake:
    """A classifier that leaves a forked child with every descriptor of the worker."""
    if os.fork() == 0:
        time.sleep(3600)
    return Fake({})
