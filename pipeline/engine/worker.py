"""A worker process: `python -m pipeline.engine.worker --fd N --parent PID`.

    start -> build the classifier, warm up -> ready (or failed, and leave)
    batch -> answer -> results            one batch at a time, until the service hangs up

Started by the engine, never by hand. Leaves by itself when the service process is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Sequence

from protocol.errors import PredictionFailed, ServingError, wire_codes
from protocol.reply import ImageResult
from protocol.request import EncodedImage

from .building import Answering, Budgets, build
from .child import die_with, ignore_stop_signals, leave_no_core
from .frames import Frame, Header, Row, pack, read_frame
from .served_files import FilesChangedError, ServedFiles

logger = logging.getLogger(__name__)

# The log ids of the batch under way; every log line written meanwhile has them.
_log_ids: list[int] = []
# Of an exception, whose text may have the whole image in it.
_TRACEBACK_CHARACTERS = 4000
FAILED_TEXT = "the prediction failed; the service's log has the details"


def main() -> int:
    """Serve one connection; return the exit code."""
    parser = argparse.ArgumentParser(prog="pipeline.engine.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="socket to the service process")
    parser.add_argument("--parent", type=int, required=True, help="the service process")
    options = parser.parse_args()
    die_with(options.parent)
    ignore_stop_signals()
    leave_no_core()
    faulthandler.enable()
    # Processes that the classifier starts must not keep the connection open.
    os.set_inheritable(options.fd, False)
    with socket.socket(fileno=options.fd) as connection:
        try:
            return serve(connection)
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the service is gone, so there is nothing to report to


def serve(connection: socket.socket) -> int:
    """Answer batches until the service hangs up; return the exit code."""
    start = read_frame(connection)
    if start is None:
        return 0
    _log_with_priority(start.header["log_token"])
    began = time.monotonic()
    try:
        answering = _build(start.header)
    except Exception as error:
        if not _is_ours(error):
            logger.exception("the classifier cannot be built")
        public = error.public_cause if isinstance(error, FilesChangedError) else None
        failed = {"kind": "failed", "cause": one_line(error), "public_cause": public}
        connection.sendall(pack(failed))
        return 1
    # Native libraries install signal handlers of their own; ours replace them.
    ignore_stop_signals()
    facts = {**answering.facts, "load_s": round(time.monotonic() - began, 3)}
    connection.sendall(pack({"kind": "ready", "facts": facts}))
    while (frame := _next(connection, answering)) is not None:
        connection.sendall(pack(_answer(answering, frame)))
    answering.rest()
    return 0


def _next(connection: socket.socket, answering: Answering) -> Frame | None:
    """Wait for a frame; the classifier gives back what it has not needed for long."""
    rest_after_s = answering.rest_after_s
    if rest_after_s is not None and not select.select([connection], [], [], rest_after_s)[0]:
        answering.rest()
    return read_frame(connection)


def one_line(error: BaseException) -> str:
    """Return the cause in one line; errors of our own rooms need no class name before them."""
    text = " ".join(str(error).split())
    if text and _is_ours(error):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_ours(error: BaseException) -> bool:
    """Whether it is one of our typed errors, whose text is enough without a class name."""
    return type(error).__module__.partition(".")[0] in ("pipeline", "bundle", "protocol")


def _build(start: Header) -> Answering:
    sys.path.extend(entry for entry in start["import_path"] if entry not in sys.path)
    _change_to(start["folder"])
    files = None if start["files"] is None else ServedFiles.from_header(start["files"])
    if files is not None:
        files.check()
    answering = build(start["factory"], start["settings"])
    if files is not None:
        files.check()  # they did not change while they were loaded
    return answering


def _change_to(folder: str | None) -> None:
    """Work in `folder`, the service's own; without it a worker can still serve."""
    try:
        os.chdir(folder or "")
    except OSError as error:
        logger.warning(
            "the working folder %s cannot be used (%s); the worker goes on in /, where a "
            "classifier of your own finds no relative path",
            folder or "of the service",
            error.strerror,
        )
        os.chdir("/")


def _answer(answering: Answering, frame: Frame) -> Header:
    _log_ids[:] = (log_id for log_id in frame.header["log_ids"] if log_id)
    batch = _Batch(answering, frame.images, frame.header["budgets_s"])
    rows = batch.rows(0, len(frame.images))
    _log_ids.clear()
    return {
        "kind": "results",
        "number": frame.header["number"],
        "rows": rows,
        "failed": batch.failed,
        "traceback": batch.traceback,
        "stages_s": batch.stages_s,
    }


class _Batch:
    """Images to classify, and what went wrong with them beyond their own errors.

    `failed` holds the positions of images that the classifier raised over, `traceback` the first
    of its exceptions.
    """

    def __init__(
        self, answering: Answering, images: Sequence[EncodedImage], budgets_s: Budgets
    ) -> None:
        self.images = images
        self._budgets_s = budgets_s
        self.failed: list[int] = []
        self.traceback = ""
        self.stages_s: dict[str, float] = {}
        self._answering = answering

    def rows(self, begin: int, end: int) -> list[Row]:
        """Classify the images from `begin` to `end`."""
        images = self.images[begin:end]
        try:
            results = self._answering.answer(images, self._budgets_s[begin:end])
            if len(results) != len(images):
                raise RuntimeError(f"{len(results)} results for {len(images)} images")
            for stage, seconds in self._answering.stages_s.items():
                self.stages_s[stage] = self.stages_s.get(stage, 0.0) + seconds
            return [_row(result) for result in results]
        except ServingError as error:
            if len(images) == 1:
                return [_row(error)]
        except Exception:  # noqa: BLE001 - reported to the service; the worker goes on
            if len(images) == 1:
                self.failed.append(begin)
                self.traceback = self.traceback or traceback.format_exc()[-_TRACEBACK_CHARACTERS:]
                return [_row(PredictionFailed(FAILED_TEXT))]
        # One image must not make its neighbours fail, whatever the classifier does.
        return [row for position in range(begin, end) for row in self.rows(position, position + 1)]


def _row(result: ImageResult) -> Row:
    if isinstance(result, ServingError):
        return {"err_no": wire_codes(result).err_no, "message": str(result)}
    return [[int(c.class_id), str(c.label), float(c.score)] for c in result]


def _log_with_priority(token: str) -> None:
    """Log to stderr in lines that begin with <3:TOKEN> error .. <7:TOKEN> debug.

    The token marks them among the lines that libraries print; see `output.OutputRelay`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_PriorityFormatter(token))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _PriorityFormatter(logging.Formatter):
    def __init__(self, token: str) -> None:
        super().__init__("%(name)s: %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        levels = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
        priority = next((number for level, number in levels if record.levelno >= level), 7)
        text = super().format(record)
        if _log_ids:
            text += f" [log_id {', '.join(map(str, dict.fromkeys(_log_ids)))}]"
        return "\n".join(f"<{priority}:{self._token}>{line}" for line in text.splitlines())


def _leave(code: int) -> None:
    """Exit without tearing the interpreter down: native libraries crash there now and then."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _exit_code() -> int:
    """Run `main`; return the code also where a classifier ends the process."""
    try:
        return main()
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - as Python would end, but at once
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    _leave(_exit_code())
