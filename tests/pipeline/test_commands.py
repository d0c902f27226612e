"""`python -m pipeline`: its commands, and what the one that reloads prints and returns."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main

Run = Callable[..., Any]


@contextmanager
def replying(status: int, body: bytes) -> Iterator[str]:
    """A server with one reply to everything; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_help_names_every_command(root: Path, in_process: Run) -> None:
    text = in_process(main, "--help").stdout
    listed = set(re.findall(r"^  (\w+)  ", text[text.index("commands:") :], re.MULTILINE))
    modules = {path.stem.removesuffix("_command") for path in root.glob("pipeline/*_command.py")}
    assert listed == {"serve"} | modules
    for command in sorted(modules):
        shown = in_process(main, command, "--help")
        assert shown.returncode == 0
        assert f"usage: python -m pipeline {command}" in shown.stdout


def test_the_script_says_where_the_commands_are(in_process: Run) -> None:
    from pipeline.web_service import main as serve

    assert "`python -m pipeline --help` names the commands" in in_process(serve, "--help").stdout


def test_an_unknown_command_is_named(in_process: Run) -> None:
    done = in_process(main, "relaod")
    assert done.returncode == 2
    assert done.stderr == "error: there is no command 'relaod'; there are serve, status, reload\n"


def test_a_reload_prints_what_is_served(in_process: Run) -> None:
    model = {"file": "/srv/2/net.onnx", "sha256": "ab" * 32}
    report = {"status": "reloaded", "seconds": 2.345, "services": ["waste"]}
    labels = {"file": "/srv/2/labels.txt", "sha256": "cd" * 32}
    report["served"] = {"waste": {"bundle": "/srv/2", "model": model, "labels": labels}}
    report["as_before"] = {"waste": ["model"]}
    with replying(200, json.dumps(report).encode()) as url:
        done = in_process(main, "reload", "--url", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "reloaded in 2.3 s\nwaste\n"
            "  model /srv/2/net.onnx (sha256 abababababab, as before)\n"
            "  labels /srv/2/labels.txt (sha256 cdcdcdcdcdcd)\n"
        )
        done = in_process(main, "reload", "--url", url, "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, report)


def test_a_refused_reload_prints_its_reason(in_process: Run) -> None:
    with replying(409, b'{"status": "unchanged", "error": "op.waste.topk: at least 1"}') as url:
        done = in_process(main, "reload", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: not reloaded, nothing has changed: op.waste.topk: at least 1\n")


@pytest.mark.parametrize("body", [b"", b"hello", b"[1]", b'{"err_no": 3002}', b"\xff"])
def test_a_reload_of_what_is_no_admin_address(in_process: Run, body: bytes) -> None:
    with replying(404, body) as url:
        done = in_process(main, "reload", "--url", url)
    assert done.returncode == 2
    assert "HTTP 404; this is not an admin address" in done.stderr


def test_a_reload_where_nothing_listens(in_process: Run, free_port: int) -> None:
    done = in_process(main, "reload", "--url", f"127.0.0.1:{free_port}")
    assert done.returncode == 2
    assert f"no reply to a reload from http://127.0.0.1:{free_port}" in done.stderr


def test_a_reload_that_takes_longer_than_the_command_waits(in_process: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        done = in_process(main, "reload", "--url", url, "--timeout", "0.1")
    assert done.returncode == 1
    assert "the reload was not done within 0.1 s and goes on" in done.stderr


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_none(in_process: Run, timeout: str) -> None:
    done = in_process(main, "reload", f"--timeout={timeout}")
    assert done.returncode == 2
    assert "no number of seconds above 0" in done.stderr
