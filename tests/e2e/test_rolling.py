"""Replicas that are stopped and started one after the other, while requests come."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.rpc_client import RpcClient
from protocol.errors import ServingError
from tests.patience import PATIENCE_S

IMAGE = {"Content-Type": "image/jpeg"}
SLOW = """\
import time
from pathlib import Path
from pipeline.classifier import Classifier

class Slow(Classifier):
    def decode(self, data):
        while Path({busy!r}).exists():
            time.sleep(0.01)
        return super().decode(data)
"""
GOAWAY = 7


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def classify(client: httpx.Client, service: Any, image: bytes) -> httpx.Response:
    return client.post(
        f"{service.url}/waste/prediction", content=image, headers=IMAGE, timeout=PATIENCE_S
    )


def test_requests_are_answered_on_during_the_shutdown_delay(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    settings = ("op.waste.concurrency=1", "shutdown_delay=600")
    with (
        start_any_service(tiny_config, *settings) as service,
        httpx.Client() as client,
        RpcClient(service.endpoint, timeout_s=PATIENCE_S) as rpc,
    ):
        rpc.classify(images[0])
        kept = classify(client, service, images[0])
        assert (kept.status_code, kept.headers.get("connection")) == (200, None)
        service.process.send_signal(signal.SIGTERM)
        ready = f"{service.url}/health/ready"
        wait_for(lambda: httpx.get(ready, timeout=PATIENCE_S).status_code == 503)
        assert httpx.get(ready, timeout=PATIENCE_S).json()["status"] == "leaving"
        # On the connection that was kept, and on new ones; each is closed with its reply.
        for caller in (client, httpx):
            reply = classify(caller, service, images[0])  # type: ignore[arg-type]
            assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        rpc.classify(images[0])
        with RpcClient(service.endpoint, timeout_s=PATIENCE_S) as another:
            another.classify(images[0])
        # A second signal does not wait for the end of the delay.
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(PATIENCE_S) == 0


def test_ctrl_c_waits_for_no_delay(start_any_service: Any, tiny_config: Path) -> None:
    settings = ("op.waste.concurrency=1", "shutdown_delay=600")
    with start_any_service(tiny_config, *settings) as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(PATIENCE_S) == 0


def test_an_interrupted_start_has_no_delay(root: Path, tiny_config: Path) -> None:
    process = subprocess.Popen(
        [
            *(os.sys.executable, "pipeline/web_service.py", "--config", str(tiny_config)),  # type: ignore[attr-defined]
            *("-o", "shutdown_delay=600", "-o", "op.waste.concurrency=1"),
        ],
        cwd=root,
    )
    wait_for(lambda: "worker" in children(process.pid))
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def children(pid: int) -> str:
    listed = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """While this file is there, a request to the service of `slow` takes on."""
    return tmp_path / "busy"


@pytest.fixture
def slow(start_any_service: Any, tiny_config: Path, tmp_path: Path, busy: Path) -> Iterator[Any]:
    (tmp_path / "slow_class.py").write_text(SLOW.format(busy=str(busy)))
    settings = ("op.waste.concurrency=1", "op.waste.classifier=slow_class:Slow")
    path = {"PYTHONPATH": str(tmp_path)}
    with start_any_service(tiny_config, *settings, environment=path) as service:
        yield service


def test_a_reply_to_what_ran_at_sigterm_closes_its_connection(
    slow: Any, busy: Path, images: list[bytes]
) -> None:
    busy.touch()
    with ThreadPoolExecutor(1) as pool, httpx.Client() as client:
        asking = pool.submit(classify, client, slow, images[0])
        wait_for(lambda: open_requests(slow) == 1)
        slow.process.send_signal(signal.SIGTERM)
        refused = httpx.Response(200)

        def is_refused() -> bool:
            nonlocal refused
            refused = classify(httpx, slow, images[0])  # type: ignore[arg-type]
            return refused.status_code == 503

        # A request that comes before the signal is one more that runs.
        wait_for(lambda: httpx.get(f"{slow.url}/health/ready").status_code == 503)
        wait_for(is_refused)
        assert (refused.json()["err_no"], refused.headers["connection"]) == (3001, "close")
        busy.unlink()
        reply = asking.result()
        assert (reply.status_code, reply.headers["connection"]) == (200, "close")
    assert slow.process.wait(PATIENCE_S) == 0


def open_requests(service: Any) -> int:
    reply = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S)
    return int(reply.json()["services"][0]["open_requests"])


def test_rpc_sends_goaway_at_once_and_finishes_what_runs(
    slow: Any, busy: Path, images: list[bytes]
) -> None:
    busy.touch()
    with (
        ThreadPoolExecutor(1) as pool,
        RpcClient(slow.endpoint, timeout_s=PATIENCE_S) as rpc,
        socket.create_connection(("127.0.0.1", slow.rpc_port), PATIENCE_S) as idle,
    ):
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        asking = pool.submit(rpc.classify, images[0])
        wait_for(lambda: open_requests(slow) == 1)
        slow.process.send_signal(signal.SIGTERM)
        while frame_type(idle) != GOAWAY:
            pass
        assert not asking.done()
        with pytest.raises((ServingError, OSError)), RpcClient(slow.endpoint) as late:
            late.classify(images[0])
        busy.unlink()
        assert asking.result()
    assert slow.process.wait(PATIENCE_S) == 0


def frame_type(connection: socket.socket) -> int:
    """Read one frame of HTTP/2; return its type."""
    head = exactly(connection, 9)
    (length,) = struct.unpack(">I", b"\0" + head[:3])
    exactly(connection, length)
    return head[3]


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        assert chunk, "the connection ended without a GOAWAY"
        data += chunk
    return data


def test_an_idle_connection_is_kept_as_long_as_configured(
    start_any_service: Any, tiny_config: Path
) -> None:
    with (
        start_any_service(tiny_config, "op.waste.concurrency=1", "keep_alive=1") as service,
        socket.create_connection(("127.0.0.1", service.http_port), PATIENCE_S) as connection,
    ):
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
        assert received.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < PATIENCE_S / 2


# --- behind nginx ---------------------------------------------------------------------------------


class Replica:
    """A service on fixed ports that is stopped and started again."""

    def __init__(self, start: Any, config: Path, http_port: int, rpc_port: int) -> None:
        settings = ("op.waste.concurrency=1", "admin.port=0", "shutdown_delay=0")
        ports = (f"http_port={http_port}", f"rpc_port={rpc_port}")
        self._start = lambda: start(config, *settings, *ports)
        self._stack = contextlib.ExitStack()
        self.begin()

    def begin(self) -> None:
        self.service = self._stack.enter_context(self._start())

    def restart(self) -> None:
        assert self.service.stop() == 0
        self._stack.close()
        self.begin()

    def close(self) -> None:
        self._stack.close()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture
def behind_nginx(
    root: Path, start_any_service: Any, tiny_config: Path, tmp_path: Path
) -> Iterator[tuple[list[Replica], int, int]]:
    """Two replicas behind nginx with the file of deploy/; nginx' ports for HTTP and RPC."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("needs nginx (apt-get install nginx-light)")
    http_a, http_b, rpc_a, rpc_b, http, rpc = free_ports(6)
    text = (root / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for old, new in {
        "127.0.0.1:18080": f"127.0.0.1:{http_a}",
        "127.0.0.1:18081": f"127.0.0.1:{http_b}",
        "127.0.0.1:9993": f"127.0.0.1:{rpc_a}",
        "127.0.0.1:9994": f"127.0.0.1:{rpc_b}",
        "listen 80;": f"listen 127.0.0.1:{http};",
        "listen 81 http2;": f"listen 127.0.0.1:{rpc} http2;",
    }.items():
        assert old in text
        text = text.replace(old, new)
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\nuser root;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{text}}}\n"
    )
    with contextlib.ExitStack() as stack:
        replicas = []
        for ports in ((http_a, rpc_a), (http_b, rpc_b)):
            replicas.append(Replica(start_any_service, tiny_config, *ports))
            stack.callback(replicas[-1].close)
        process = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for(lambda: listens(http) and listens(rpc))
        yield replicas, http, rpc


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_rolling_restart_behind_nginx_loses_nothing(
    behind_nginx: tuple[list[Replica], int, int], images: list[bytes]
) -> None:
    replicas, http_port, rpc_port = behind_nginx
    stop = threading.Event()
    url = f"http://127.0.0.1:{http_port}/waste/prediction"

    def over_http(number: int) -> int:
        sent = 0
        with httpx.Client(timeout=PATIENCE_S) as client:
            while not stop.is_set():
                image = images[(number + sent) % len(images[:12])]
                reply = client.post(url, content=image, headers=IMAGE)
                assert (reply.status_code, reply.json()["err_no"]) == (200, 0), reply.text
                sent += 1
        return sent

    def over_rpc(number: int) -> int:
        sent = 0
        with RpcClient(f"127.0.0.1:{rpc_port}", timeout_s=PATIENCE_S, retries=0) as client:
            while not stop.is_set():
                assert client.classify(images[(number + sent) % 12])
                sent += 1
        return sent

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(over_http if n < 4 else over_rpc, n) for n in range(6)]
        try:
            for _ in range(2):
                for replica in replicas:
                    replica.restart()  # and is ready again
        finally:
            stop.set()
        sent = [future.result() for future in running]
    assert min(sent) > 10
