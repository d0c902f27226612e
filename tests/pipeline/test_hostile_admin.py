"""The commands for the admin address against a server that is none, or means harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.__main__ import main
from tests.client.hostile import Behaviour, HostileServer, bomb, drips, hostile, reply, sends

__all__ = ["hostile"]
Start = Callable[[Behaviour], HostileServer]
ESCAPES = "\x1b]0;owned\x07 \u202egnp\r [red]x[/red]"
WORKER = {"name": "a", "pid": 1, "state": "idle", "restarts": 0, "batches": 0, "images": 0}
COUNTERS = dict.fromkeys(("answered", "failed", "expired", "abandoned", "rejected"), 1)
SERVICE = {
    "name": ESCAPES,
    "ready": True,
    "waiting": 0,
    "queue_size": 1,
    "workers": [{**WORKER, "cause": ESCAPES}],
    "counters": COUNTERS,
    "facts": {"model": ESCAPES},
    "served": {"bundle": ESCAPES},
}
STATUS = {
    "version": ESCAPES,
    "phase": "ready",
    "pid": 1,
    "uptime_s": 1.0,
    "source": ESCAPES,
    "services": [SERVICE],
    "last_reload": {"at": 1.0, "outcome": "failed", "error": ESCAPES},
}
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "behave",
    [
        drips(HEAD + b"X: ", b"a"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drips(HEAD + b"Content-Length: 99999\r\n\r\n", b" "),
    ],
    ids=["head", "100-continue", "body"],
)
def test_a_server_that_drips_is_left_at_the_timeout(
    hostile: Start, in_process: Any, behave: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.status_command._READ_LIMIT_S", 0.5)
    url = f"127.0.0.1:{hostile(behave).port}"
    shown = in_process(main, "reload", "--url", url, "--timeout", "0.5")
    assert (shown.returncode, "was not done within 0.5 s" in shown.stderr) == (1, True)
    shown = in_process(main, "status", "--url", url)
    assert (shown.returncode, "no whole reply within 0.5 s" in shown.stderr) == (2, True)


@pytest.mark.parametrize(
    "sent",
    [
        reply(bytes(5 << 20)),
        reply(bomb(20), "Content-Encoding: gzip"),
        reply(b"[" * 10**6),
        reply(b'{"services": 5, "status": []}'),
        reply(json.dumps({**STATUS, "pid": "x", "status": None}).encode()),
        reply(json.dumps({**STATUS, "services": [{**SERVICE, "counters": {}}]}).encode()),
        reply(json.dumps({**STATUS, "uptime_s": float("inf")}).encode()),
        reply(json.dumps({**STATUS, "last_reload": {"at": 1e300}}).encode()),
        reply(b'{"status": "reloaded", "seconds": "x", "services": [1]}'),
        reply(b'{"status": "reloaded", "served": {"a": 5}}'),
        reply(ESCAPES.encode()),
        b"\x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("command", ["status", "reload"])
def test_a_malformed_reply_is_an_error_of_one_line(
    hostile: Start, in_process: Any, sent: bytes, command: str
) -> None:
    shown = in_process(main, command, "--url", f"127.0.0.1:{hostile(sends(sent)).port}")
    assert shown.returncode == 2
    (line,) = shown.stderr.splitlines()
    assert line.startswith("error: no ")
    assert line.isprintable()
    assert len(line) < 700
    assert shown.stdout == ""


def test_a_status_is_shown_without_what_a_terminal_would_act_on(
    hostile: Start, in_process: Any
) -> None:
    url = f"127.0.0.1:{hostile(sends(reply(json.dumps(STATUS).encode()))).port}"
    shown = in_process(main, "status", "--url", url, "--seconds", "0.01")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert "\\u001b]0;owned\\u0007" in shown.stdout
    assert "[red]x[/red]" in shown.stdout
    shown = in_process(main, "status", "--url", url, "--json")
    assert json.loads(shown.stdout) == STATUS


@pytest.mark.parametrize("status", ["reloaded", "unchanged"])
def test_a_report_of_a_reload_is_shown_so_too(hostile: Start, in_process: Any, status: str) -> None:
    report = {"status": status, "error": ESCAPES + "\nerror: forged", "seconds": 1.0}
    report["served"] = {ESCAPES: {"bundle": ESCAPES}}
    url = f"127.0.0.1:{hostile(sends(reply(json.dumps(report).encode()))).port}"
    shown = in_process(main, "reload", "--url", url)
    text = shown.stdout + shown.stderr
    assert shown.returncode == (0 if status == "reloaded" else 1)
    assert all(line.isprintable() for line in text.splitlines())
    assert "\nerror: forged" not in text
