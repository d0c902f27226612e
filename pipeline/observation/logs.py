"""The service's log on stderr: for people or as JSON, and never in the way of the service.

Lines are written by a thread of their own from a bounded queue. A disk that is full, or a reader of
stderr that has stopped reading, costs lines, and no request waits for it.

Text from callers is logged. They cannot forge a line: characters that move a terminal's cursor or
end a line are escaped, and only the first line of a record begins at the margin. They cannot flood
the log: each logger writes a limited number of records a second.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import threading
import time
from collections import Counter
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from protocol.escaping import escaped

_WAITING_LINES = 2000
_END_LIMIT_S = 2.0
_SECOND_S = 1.0

# Records a second of a level: of all libraries together (some have one for every bad request), and
# of one logger of ours.
_FOREIGN_LINES = 10
_OWN_LINES = 50
# These keep to limits of their own.
_SAMPLED = ("pipeline.requests", "pipeline.engine.output")


def set_up_logging(level: str, form: str, stream: TextIO | None = None) -> LogWriter:
    """Log everything from `level` on to `stream` (stderr) in `form`; once a process."""
    if form == "json":
        formatter: logging.Formatter = JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger"},
            json_ensure_ascii=False,
        )
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    writer = LogWriter(stream or sys.stderr, formatter)
    root = logging.getLogger()
    root.handlers[:] = [writer.handler]
    root.setLevel(level.upper())
    # At info it repeats our own start-up block.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_late_reply)
    atexit.register(writer.close)
    return writer


def _is_no_late_reply(record: logging.LogRecord) -> bool:
    """Leave out gRPC's stack trace for a reply to a caller that closed the connection meanwhile."""
    return not str(record.msg).startswith("ExecuteBatchError raised in core")


class LogWriter:
    """Takes records without waiting, and writes them when the stream takes them.

    Attributes:
        handler: puts a record into the queue.
        lost: lines that were not written: the queue was full, or the stream failed.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        """Start the thread that writes."""
        self.handler = _Handler(self)
        self.lost = 0
        self._stream = stream
        self._formatter = formatter
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(_WAITING_LINES)
        self._sample = _Sample()
        self.handler.addFilter(self._sample)
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def put(self, record: logging.LogRecord) -> None:
        """Take one record, or count it as lost."""
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write what waits, for two seconds at most; may be called more than once."""
        deadline = time.monotonic() + _END_LIMIT_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._records.put_nowait(None)
                break
            except queue.Full:
                time.sleep(0.01)
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _write_all(self) -> None:
        ended = False
        while not ended:
            try:
                record = self._records.get(timeout=_SECOND_S)
                ended = record is None
            except queue.Empty:
                record = None
            if record is not None:
                self._write(record)
            left_out = self._sample.left_out(now=ended)
            if left_out is not None:
                self._write(left_out)

    def _write(self, record: logging.LogRecord) -> None:
        try:
            text = escaped(self._formatter.format(record)).replace("\n", "\n    ")
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a full disk; a stream that is closed
            self.lost += 1


class _Sample(logging.Filter):
    """Lets only so many records a second through; the others are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._window = 0.0
        self._let_through: Counter[tuple[str, int]] = Counter()
        self._since = 0.0
        self._left_out: Counter[str] = Counter()
        self._level = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in _SAMPLED:
            return True
        ours = record.name.partition(".")[0] == "pipeline"
        # Of each level on its own: a flood of warnings hides no error.
        source = (record.name if ours else "", record.levelno)
        now = time.monotonic()
        with self._lock:
            if now - self._window >= _SECOND_S:
                self._window = now
                self._let_through.clear()
            self._let_through[source] += 1
            if self._let_through[source] <= (_OWN_LINES if ours else _FOREIGN_LINES):
                return True
            if not self._left_out:
                self._since = now
            self._left_out[record.name] += 1
            self._level = max(self._level, record.levelno)
        return False

    def left_out(self, *, now: bool) -> logging.LogRecord | None:
        """Return a record of what was left out, a second after the first, or now."""
        with self._lock:
            if not self._left_out or not (now or time.monotonic() - self._since >= _SECOND_S):
                return None
            left_out, level = self._left_out, self._level
            self._left_out, self._level = Counter(), 0
        counted = ", ".join(f"{count} of {name}" for name, count in left_out.most_common())
        return logging.makeLogRecord(
            {
                "name": __name__,
                "levelno": level,
                "levelname": logging.getLevelName(level),
                "msg": f"{left_out.total()} more lines in this second: {counted}",
                "left_out": dict(left_out),
            }
        )


class _Handler(logging.Handler):
    """Hands records to the writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Formatted here: the arguments may change before the writer thread reads them.
            record.msg = record.getMessage()
        except (TypeError, ValueError) as error:  # a fault in the code that logs; keep the line
            record.msg = f"{record.msg} {record.args} (cannot be formatted: {error})"
        record.args = None
        self._writer.put(record)
