"""Thousands who connect and say nothing, and no descriptor left: the others are served."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.errors import ConnectionLost, Unreachable
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from tests.patience import PATIENCE_S

IDLE = 10_000
# Between two bounds: an idle connection over RPC is closed after half a minute; these, which answer
# no ping, would be after 80 seconds otherwise.
PLACE_GUARD_S = 70.0
# Channels of one process to one address share a connection otherwise.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + 2000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"the limit of open files is {hard}; {needed} are needed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(port: int, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(count)]


def greet(connection: socket.socket) -> None:
    """Begin HTTP/2: preface, settings without a setting (frame type 4), consent to the server's."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    if connection.recv(4096):
        connection.sendall(bytes([0, 0, 0, 4, 1, 0, 0, 0, 0]))


def ask_until_served(endpoint: str, image: bytes) -> Any:
    """Return the answer to a new RPC caller, who tries again while there is no place for it."""
    until = time.monotonic() + PLACE_GUARD_S
    while True:
        try:
            with RpcClient(endpoint, timeout_s=PATIENCE_S, options=OWN_CONNECTION) as newcomer:
                return newcomer.classify(image)
        except (Unreachable, ConnectionLost):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_ten_thousand_idle_connections(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    with (
        start_any_service(tiny_config, "op.waste.concurrency=1") as service,
        HttpClient(service.url, timeout_s=PATIENCE_S) as http,
        RpcClient(service.endpoint, timeout_s=PATIENCE_S) as rpc,
        contextlib.ExitStack() as idle,
    ):
        before = http.classify(images[0])
        for port in (service.http_port, service.rpc_port):
            for connection in connect(port, IDLE // 2 if port == service.rpc_port else IDLE):
                idle.callback(connection.close)
                if port == service.rpc_port:
                    with contextlib.suppress(OSError):  # one too many has been closed already
                        greet(connection)
            assert http.classify(images[0]) == before
            assert rpc.classify(images[0]) == before
            with HttpClient(service.url, timeout_s=PATIENCE_S) as newcomer:
                assert newcomer.classify(images[0]) == before
            # Over RPC who is there keeps its place; who asks nothing loses it after a while.
            assert ask_until_served(service.endpoint, images[0]) == before
            assert rpc.classify(images[0]) == before
            assert httpx.get(f"{service.url}/health/ready", timeout=PATIENCE_S).status_code == 200
            assert httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).status_code == 200
        descriptors = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
        assert descriptors < 4096 + IDLE // 2 + 500  # HTTP keeps 4096 of its 10,000
        idle.close()
        assert http.classify(images[0]) == before
        assert service.stop() == 0


def test_few_descriptors_are_reported_and_never_run_out(
    root: Path, tiny_config: Path, images: list[bytes]
) -> None:
    few = 200
    command = [sys.executable, "-m", "pipeline", "-ohost=127.0.0.1", "-oop.waste.concurrency=1"]
    command += ["-ohttp_port=0", "-orpc_port=0", f"--config={tiny_config}"]
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {few}; exec "$@"', "sh", *command],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = next(
            line.split()[1] for line in process.stdout if line.startswith("  health")
        ).partition("/health")[0]
        port = int(url.rpartition(":")[2])
        with contextlib.ExitStack() as idle, HttpClient(url, timeout_s=PATIENCE_S) as http:
            before = http.classify(images[0])
            for connection in connect(port, 3 * few):
                idle.callback(connection.close)
            assert http.classify(images[0]) == before
            with HttpClient(url, timeout_s=PATIENCE_S) as newcomer:
                assert newcomer.classify(images[0]) == before
            assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < few
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert f"the limit of open files is {few}" in errors
    assert "Traceback" not in errors
