from __future__ import annotations

import io
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from pipeline.observation import logs
from pipeline.observation.logs import set_up_logging
from tests.patience import PATIENCE_S


@pytest.fixture
def untouched() -> Iterator[None]:
    """The loggers of the test run are as before afterwards."""
    root, grpc = logging.getLogger(), logging.getLogger("grpc._cython.cygrpc")
    kept = (root.handlers[:], root.level, grpc.filters[:])
    yield
    root.handlers[:], grpc.filters[:] = kept[0], kept[2]
    root.setLevel(kept[1])


@pytest.mark.usefixtures("untouched")
def test_lines_are_written_in_their_form() -> None:
    stream = io.StringIO()
    writer = set_up_logging("info", "json", stream)
    logging.getLogger("pipeline.x").info("a %s", "line", extra={"log_id": 7})
    logging.getLogger("pipeline.x").debug("below the level")
    writer.close()
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["level"], line["message"], line["log_id"]) == ("INFO", "a line", 7)


# A line's end, a terminal's commands (also of one byte, C1), text that runs backwards, half a pair.
HOSTILE = "\r\x1b[2K\x00\x7f\x9b\x85\u2028\u2029\u202e\u2066\ud800"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("form", ["human", "json"])
def test_a_record_moves_no_cursor_and_forges_no_other(form: str) -> None:
    stream = io.StringIO()
    writer = set_up_logging("info", form, stream)
    forged = "2026-11-27 00:00:00,000 ERROR root: forged"
    try:
        raise ValueError(f"{HOSTILE}\n{forged}")
    except ValueError:
        logging.getLogger("pipeline.x").exception("of\t%s\n%s", HOSTILE, forged)
    writer.close()
    assert not any(character in stream.getvalue() for character in HOSTILE.replace("[2K", ""))
    first, *more = stream.getvalue().splitlines()
    if form == "json":
        assert not more
        record = json.loads(first)
        assert record["message"] == f"of\t{HOSTILE}\n{forged}"
        assert f"{HOSTILE}\n{forged}" in record["exc_info"]
    else:
        assert first.endswith(
            "of\t\\u000d\\u001b[2K\\u0000\\u007f\\u009b\\u0085\\u2028\\u2029\\u202e\\u2066\\ud800"
        )
        assert len(more) > 4  # a traceback is still one
        assert all(line.startswith("    ") for line in more)


@pytest.mark.usefixtures("untouched")
def test_a_flood_is_a_few_lines_and_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_SECOND_S", 60.0)  # longer than this takes on any machine
    stream = io.StringIO()
    writer = set_up_logging("info", "json", stream)
    for _ in range(500):
        logging.getLogger("httpx").warning("Invalid HTTP request received.")
        logging.getLogger("urllib3.connection").warning("Did not find CR")
        logging.getLogger("pipeline.x").error("of ours")
        logging.getLogger("pipeline.requests").info("has a limit of its own")
    logging.getLogger("asyncio").error("an error of another library")
    writer.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert writer.lost == 0
    written = Counter((line["logger"], line["level"]) for line in lines)
    foreign = written["httpx", "WARNING"] + written["urllib3.connection", "WARNING"]
    assert foreign == 10
    assert written["asyncio", "ERROR"] == 1
    assert written["pipeline.x", "ERROR"] == 50
    assert written["pipeline.requests", "INFO"] == 500
    summary = lines[-1]
    assert (summary["logger"], summary["level"]) == ("pipeline.observation.logs", "ERROR")
    assert summary["message"].startswith("1440 more lines in this second: ")
    assert sum(summary["left_out"].values()) == 1440


@pytest.mark.usefixtures("untouched")
def test_what_was_left_out_is_logged_in_time_and_the_next_second_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_SECOND_S", 0.1)
    stream = io.StringIO()
    writer = set_up_logging("warning", "human", stream)
    library = logging.getLogger("httpx")
    deadline = time.monotonic() + PATIENCE_S
    while "WARNING pipeline.observation.logs: " not in stream.getvalue():
        assert time.monotonic() < deadline
        library.warning("Unsupported upgrade request.")
    assert " more lines in this second: " in stream.getvalue()
    time.sleep(0.2)
    library.warning("later")
    writer.close()
    assert "WARNING httpx: later" in stream.getvalue()


@pytest.mark.usefixtures("untouched")
def test_a_reply_to_a_caller_that_has_left_logs_no_stack_trace() -> None:
    stream = io.StringIO()
    writer = set_up_logging("warning", "human", stream)
    grpc = logging.getLogger("grpc._cython.cygrpc")
    grpc.error("ExecuteBatchError raised in core by servicer method [%s]", "/x/inference")
    grpc.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", "/x/inference")
    writer.close()
    (line,) = stream.getvalue().splitlines()
    assert "KeyError" in line
