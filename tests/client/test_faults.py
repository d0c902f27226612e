"""Servers that misbehave below the envelope, and callers that leave early."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from client import addresses, network
from client.errors import BadReply, ConnectionLost, TimedOut, Unreachable
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from tests.patience import PATIENCE_S

Behaviour = Callable[[socket.socket], None]
Serve = Callable[[Behaviour], int]


def reset(connection: socket.socket) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def no_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")


def another_page(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def cut_short(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{")


def a_byte_at_a_time(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.05)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers on free ports that treat each connection in the given way, then close it."""
    with ExitStack() as stack:

        def start(behave: Behaviour) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=accept, args=(listener, behave), daemon=True).start()
            return int(listener.getsockname()[1])

        yield start


def accept(listener: socket.socket, behave: Behaviour) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=treat, args=(connection, behave), daemon=True).start()


def treat(connection: socket.socket, behave: Behaviour) -> None:
    with connection:
        try:
            behave(connection)
        except OSError:
            return


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (reset, ConnectionLost),
        (no_http, BadReply),
        (cut_short, ConnectionLost),
        (another_page, BadReply),
    ],
)
def test_http_distinguishes_a_broken_connection_from_a_strange_reply(
    serve: Serve, behaviour: Behaviour, kind: type[Exception]
) -> None:
    with HttpClient(f"127.0.0.1:{serve(behaviour)}") as client, pytest.raises(kind) as caught:
        client.classify(b"can")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("behaviour", [reset, no_http, another_page])
def test_rpc_reaches_nothing_where_no_grpc_is_spoken(serve: Serve, behaviour: Behaviour) -> None:
    with RpcClient(f"127.0.0.1:{serve(behaviour)}") as client, pytest.raises(Unreachable):
        client.classify(b"can")


def test_a_trickling_reply_is_cut_off_at_the_timeout(serve: Serve) -> None:
    address = f"127.0.0.1:{serve(a_byte_at_a_time)}"
    with HttpClient(address, timeout_s=0.5) as client, pytest.raises(TimedOut):
        client.classify(b"can")


def test_a_name_that_does_not_exist() -> None:
    for client in (HttpClient("no-such-host.invalid:1"), RpcClient("no-such-host.invalid:1")):
        with client, pytest.raises(Unreachable, match="cannot reach"):
            client.classify(b"can")


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """As a name with an IPv6 address that no packet reaches, in front of a good IPv4 one."""
    port = urlsplit(url).port or 0
    with ExitStack() as stack:
        dead = stack.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        for _ in range(4):  # the backlog is full then, and further packets are dropped
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(dead.getsockname())
        with pytest.raises(TimeoutError):
            socket.create_connection(dead.getsockname(), 0.1)
        lookup = addresses._lookup

        def both(host: str, number: int, flags: int) -> list[Any]:
            if host != "two.example":
                return lookup(host, number, flags)
            if flags:
                raise OSError("a name")
            return lookup("127.0.0.2", number, 0) + lookup("127.0.0.1", number, 0)

        monkeypatch.setattr(addresses, "_lookup", both)
        monkeypatch.setattr(network, "CONNECT_TIMEOUT_S", 1.0)
        client = stack.enter_context(HttpClient(f"http://two.example:{port}", timeout_s=PATIENCE_S))
        assert client.classify(b"can")[0].label == "can 0"


def test_a_slow_way_to_the_server_is_waited_for(serve: Serve, endpoint: str) -> None:
    """Connecting may take longer than the pause between two attempts to connect."""

    def relay_late(near: socket.socket) -> None:
        time.sleep(0.7)
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    with RpcClient(f"127.0.0.1:{serve(relay_late)}", timeout_s=PATIENCE_S) as client:
        assert client.classify(b"can")[0].label == "can 0"


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_the_modules_are_commands_too(root: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"can")
    command = [sys.executable, "-m", "client.http_client", "--url", url, str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"can 0"' in done.stdout


def test_a_reader_that_leaves_is_no_traceback(root: Path, url: str, tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"{i}.jpg").write_bytes(b"can" * 2000)
    process = subprocess.Popen(
        [
            sys.executable,
            str(root / "client/http_client.py"),
            "--url",
            url,
            str(tmp_path),
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(timeout=PATIENCE_S) == 141


def test_ctrl_c_is_no_traceback(root: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"can")
    for i in range(40):
        (tmp_path / f"b{i}.jpg").write_bytes(b"slow")
    command = [str(root / "client/http_client.py"), "--url", url, str(tmp_path), "--json"]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors == b""
