"""A worker's process for heavy images: what takes too long there costs one image, not the worker.

The worker has the runtime and the model in memory, and takes seconds to start; this process has
numpy and OpenCV, and is killed when an image takes longer than its budget.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from protocol.errors import (
    DeadlineExceeded,
    PredictionFailed,
    ServingError,
    error_from_wire,
)

from .decode_thread import out_of_time
from .folders import PYTHON, ROOT
from .frames import FrameError, Header
from .pipes import Message, Pipes

logger = logging.getLogger(__name__)

_IDLE_S = 30.0
_STEP_S = 0.05  # how often the seconds of computing are read
_READY = "ready"
_DIED_TEXT = "the decoder died over this image; the service's log has the details"


class DecodeProcess:
    """Decodes and preprocesses in a child, which is started when it is first needed.

    Attributes:
        last_s: how long decoding and preprocessing took for the last image, without the start.
    """

    def __init__(self, start: Header) -> None:
        """`start` is the child's start message; see `decoder`."""
        self.last_s = 0.0
        self._start = start
        self._child: subprocess.Popen[bytes] | None = None
        self._pipes: Pipes | None = None
        self._ready = False

    @property
    def rest_after_s(self) -> float | None:
        """After how many idle seconds `close` is due; None while no process runs."""
        return None if self._child is None else _IDLE_S

    def is_up(self) -> bool:
        """Whether it can take an image at once; if it does not run, it begins to start."""
        try:
            self._started(time.monotonic())
        except TimeoutError:
            return False
        except (OSError, FrameError) as error:
            self.close()
            logger.error("the decode process does not start: %s", error)
            return False
        return True

    def prepared(self, image: bytes, budget_s: float, left_s: float) -> np.ndarray | ServingError:
        """Return what the model is fed of `image`, float32, or why there is nothing.

        It takes at most `left_s` seconds, and `budget_s` seconds of computing.
        """
        self.last_s = 0.0
        ends = time.monotonic() + left_s
        try:
            pipes = self._started(ends)
            began = time.monotonic()
            used_s = self._used_s()
            pipes.send({"kind": "image"}, [image], ends)
            while not pipes.wait(min(ends, time.monotonic() + _STEP_S)):
                if self._used_s() - used_s > budget_s or time.monotonic() >= ends:
                    raise TimeoutError
            message = pipes.receive(ends)
        except TimeoutError:
            if not self._ready:  # let it go on starting, for the next image
                return DeadlineExceeded(f"no decoder was up within {left_s:.3g} s")
            self.close()
            logger.warning("an image of %d bytes was not decoded in time", len(image))
            return out_of_time(min(budget_s, left_s))
        except (OSError, FrameError) as error:
            return self._lost(error)
        if message is None:
            return self._lost(None)
        self.last_s = time.monotonic() - began
        return _result(message)

    def close(self) -> None:
        """End the process; it is started again when it is needed."""
        child, self._child, self._pipes, self._ready = self._child, None, None, False
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def _started(self, ends: float) -> Pipes:
        if self._child is not None and self._child.poll() is not None:
            self.close()  # it ended while it was idle
        if self._child is None or self._pipes is None:
            self._child = _spawn()
            assert self._child.stdin and self._child.stdout  # noqa: S101, PT018 - for mypy
            self._pipes = Pipes(self._child.stdout.fileno(), self._child.stdin.fileno())
            self._pipes.send(self._start)
        if not self._ready:
            if self._pipes.receive(ends) is None:
                raise FrameError("the process ended while it started")
            self._ready = True
        return self._pipes

    def _used_s(self) -> float:
        """Return the seconds of computing of the process; 0 where they cannot be read."""
        assert self._child is not None  # noqa: S101 - for mypy
        try:
            # The clock of another process, as clock_getcpuclockid(3) makes its number.
            return time.clock_gettime((~self._child.pid << 3) | 2)
        except OSError:
            return 0.0

    def _lost(self, error: Exception | None) -> PredictionFailed:
        code = None
        if self._child is not None:
            self._child.kill()
            code = self._child.wait()
        self.close()
        how = f"ended by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        cause = f" ({error})" if error else ""
        logger.error("the decoder died over an image: %s%s", how, cause)
        return PredictionFailed(_DIED_TEXT)


def _spawn() -> subprocess.Popen[bytes]:
    # Its stderr is the worker's, and so is its group of processes: a kill reaches both.
    return subprocess.Popen(
        [PYTHON, "-m", "pipeline.engine.decoder", "--parent", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=ROOT,
    )


def _result(message: Message) -> np.ndarray | ServingError:
    header: Mapping[str, Any] = message.header
    if header["kind"] == "array":
        array: np.ndarray = np.frombuffer(message.payload, np.float32).reshape(header["shape"])
        return array
    if header["kind"] == "error":
        return error_from_wire(header["err_no"], header["message"])
    logger.error("the decoder failed over an image\n%s", header["traceback"])
    return PredictionFailed(_DIED_TEXT)
