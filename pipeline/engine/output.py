"""What a worker prints, relayed to the service's log line by line."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import deque

from protocol.escaping import escaped

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_LINE_BYTES = 2000
_LINES_A_SECOND = 200
_TAIL_LINES = 20
_LEVELS = {"3": logging.ERROR, "4": logging.WARNING, "6": logging.INFO, "7": logging.DEBUG}


class OutputRelay:
    """Reads a worker's stdout and stderr from a pipe and logs them under the worker's name.

    Bounded: long lines are cut, and of a flood only the first lines of each second are logged.
    The last lines are kept, so that a native crash is reported together with its message.

    Only the worker's own log has levels: its lines begin with <3:TOKEN> error .. <7:TOKEN> debug.
    Libraries print to the same pipe, some of them text that an image holds, so all other lines are
    info: the sender of an image does not know the token.
    """

    def __init__(self, descriptor: int, name: str, token: str) -> None:
        """Take over the reading end of the pipe; must be called on the running loop."""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._descriptor = descriptor
        self._name = name
        self._priority = re.compile(f"<([3467]):{re.escape(token)}>")
        self._loop = asyncio.get_running_loop()
        self._partial = b""
        self._second = 0
        self._lines = 0
        self._closed = False
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Relay the rest of the pipe, and close it; may be called more than once."""
        while not self._closed and self._read():
            pass
        if self._partial:
            self._relay(self._partial)
            self._partial = b""
        self._end()

    def _read(self) -> bool:
        """Relay one chunk; False when there is none."""
        try:
            chunk = os.read(self._descriptor, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        if not chunk:
            self._end()
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > _LINE_BYTES:
            lines.append(self._partial)
            self._partial = b""
        for line in self._affordable(lines):
            self._relay(line)
        return True

    def _affordable(self, lines: list[bytes]) -> list[bytes]:
        """Leave out lines that would neither be logged nor kept: a chunk may be all newlines."""
        room = _LINES_A_SECOND + 1
        if self._second == int(self._loop.time()):
            room = max(0, room - self._lines)
        if len(lines) <= room + _TAIL_LINES:
            return lines
        return [*lines[:room], *lines[-_TAIL_LINES:]]

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _relay(self, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode(errors="replace")
        # A library may have printed without a newline before the log's own line.
        printed, *logged = self._priority.split(text, maxsplit=1)
        self._log(logging.INFO, printed)
        if logged:
            self._log(_LEVELS[logged[0]], logged[1])

    def _log(self, level: int, text: str) -> None:
        text = escaped(text.rstrip())
        if not text:
            return
        self.tail.append(text)
        second = int(self._loop.time())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= _LINES_A_SECOND:
            logger.log(level, "%s: %s", self._name, text)
        elif self._lines == _LINES_A_SECOND + 1:
            logger.warning("%s: prints too much; the rest of this second is dropped", self._name)
