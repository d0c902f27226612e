"""A client against a bad server: it ends in time, takes little memory, and raises ClientErrors.

The servers here go on for ever, so that a test ends at all is what it shows.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from client import addresses
from client.errors import BadReply, ClientError, ConnectionLost, TimedOut, Unreachable
from client.health import check
from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import RpcClient
from protocol.errors import ServiceNotFound, ServingError
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.reply import reply_to_json
from protocol.reply import Category, ClassifyReply
from tests.patience import PATIENCE_S

from .hostile import (
    ENVELOPE,
    Behaviour,
    HostileServer,
    bomb,
    drips,
    frame,
    hostile,
    reads_slowly,
    reply,
    request,
    sends,
    twice,
)

__all__ = ["hostile"]
Start = Callable[[Behaviour], HostileServer]
SOON_S = 0.5
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(drips(b"", b""), id="silence"),
        pytest.param(drips(HEAD + b"X-Drip: ", b"a"), id="head"),
        pytest.param(drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="100-continue"),
        pytest.param(drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="early-hints"),
        pytest.param(drips(HEAD + b"Content-Length: 9999999\r\n\r\n", b" "), id="body"),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), id="chunks"
        ),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=", b"y"), id="chunk-extension"
        ),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nx: ", b"y"), id="trailer"
        ),
        pytest.param(
            drips(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 99999\r\n\r\n", b""),
            id="gzip",
        ),
    ],
)
def test_http_that_drips_is_left_at_the_timeout(hostile: Start, behave: Behaviour) -> None:
    server = hostile(behave)
    with HttpClient(f"127.0.0.1:{server.port}", timeout_s=SOON_S) as client:
        with pytest.raises(TimedOut, match=r"did not answer within 0\.5 s"):
            client.classify(b"can")
        assert server.left.wait(PATIENCE_S)


def test_an_upload_that_is_not_read_is_left_at_the_timeout(hostile: Start) -> None:
    server = hostile(reads_slowly)
    with (
        HttpClient(f"127.0.0.1:{server.port}", timeout_s=SOON_S) as client,
        pytest.raises(TimedOut),
    ):
        client.classify(bytes(64 << 20))


@pytest.mark.parametrize("piece", [b"", b"\x16\x03\x03\x40\x00\x02"], ids=["silence", "record"])
def test_a_handshake_that_drips_is_left_at_the_timeout(hostile: Start, piece: bytes) -> None:
    def shake(connection: socket.socket) -> None:
        connection.sendall(piece)
        drips(b"", b"\x00", reads=False)(connection) if piece else connection.recv(1 << 16)
        while connection.recv(1 << 16):
            pass

    server = hostile(shake)
    with HttpClient(f"https://127.0.0.1:{server.port}", timeout_s=SOON_S) as client:
        with pytest.raises(ClientError) as caught:
            client.classify(b"can")
        assert isinstance(caught.value, (Unreachable, TimedOut))
        assert server.left.wait(PATIENCE_S)


def test_a_proxy_that_drips_is_left_at_the_timeout(
    hostile: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = hostile(drips(b"HTTP/1.1 200 OK\r\nX: ", b"a"))
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{server.port}")
    with HttpClient("https://192.0.2.1", timeout_s=SOON_S) as client:
        with pytest.raises(TimedOut):
            client.classify(b"can")
        assert server.left.wait(PATIENCE_S)


def test_a_name_that_is_never_resolved_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def never(*_: Any) -> Any:
        ended.wait(PATIENCE_S)
        raise OSError("given up")

    lookup = addresses._lookup
    monkeypatch.setattr(
        addresses, "_lookup", lambda *args: lookup(*args) if args[2] else never(*args)
    )
    with (
        HttpClient("http://never.example:1", timeout_s=SOON_S) as client,
        pytest.raises(Unreachable, match="cannot reach"),
    ):
        client.classify(b"can")
    ended.set()


def test_the_list_of_services_that_drips_is_left_at_the_timeout(hostile: Start) -> None:
    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(reply(b"{}", status="404 Not Found"))
        drips(HEAD + b"X: ", b"a")(connection)

    with (
        HttpClient(f"127.0.0.1:{hostile(behave).port}", timeout_s=SOON_S) as client,
        pytest.raises(ServiceNotFound),
    ):
        client.classify(b"can")


@pytest.mark.parametrize(
    "listing",
    [
        b'{"services": [{"service": "a/../b?c#d"}]}',
        b'{"services": [{"service": "\\u001b[31m"}]}',
        b'{"services": [{"service": ["waste"]}]}',
        b'{"services": [{"service": ""}]}',
        json.dumps({"services": [{"service": "x" * 10**6}]}).encode(),
        b"[" * 10**6,
        b"\xff",
    ],
)
def test_a_listed_name_that_is_none_is_not_taken(hostile: Start, listing: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        while True:
            if request(connection).startswith(b"GET"):
                connection.sendall(reply(listing))
            else:
                connection.sendall(reply(b"{}", status="404 Not Found"))

    with HttpClient(f"127.0.0.1:{hostile(behave).port}", timeout_s=PATIENCE_S) as client:
        with pytest.raises(ServiceNotFound):
            client.classify(b"can")
        assert client.url.endswith("/waste/prediction")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (reply(twice(ENVELOPE), "Content-Encoding: gzip, gzip"), "packed 2 times over"),
        (
            reply(twice(ENVELOPE), "Content-Encoding: gzip", "Content-Encoding: gzip"),
            "packed 2 times over",
        ),
        (reply(ENVELOPE, "Content-Encoding: br"), "not offered"),
        (reply(ENVELOPE, "Content-Encoding: " + "x" * 9999), "not offered"),
        (reply(bomb(20), "Content-Encoding: gzip"), "over 1000000 bytes"),
        (reply(ENVELOPE, "Content-Encoding: gzip"), "is no gzip"),
        (reply(gzip.compress(ENVELOPE)[:-9], "Content-Encoding: gzip"), "cut off"),
        (reply(gzip.compress(ENVELOPE) + b"x", "Content-Encoding: gzip"), "behind its end"),
        (reply(ENVELOPE + b" " * 10**6), "over 1000000 bytes"),
        (reply(ENVELOPE, *["X: y"] * 200), "headers"),
        (reply(ENVELOPE, "X: " + "y" * 200_000), "head is over the bound"),
        (b"HTTP/1.1 103 Hi\r\n\r\n" * 10_000, "head is over the bound"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
        (b"HTTP/1.1 999999 OK\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\x1b[31m: \r\n\r\n", "no HTTP"),
        (b"\x1b]0;owned\x07\r\n\r\n", "no HTTP"),
        (reply(b"", "Location: http://127.0.0.1/\x1b", status="307 Moved"), "leads to|no HTTP"),
        (reply(b"", "Location: " + "/x" * 9999, status="307 Moved"), "leads to '/x/x"),
        (reply(b"\x1b[31m\xe2\x80\xae"), r"\\u001b\[31m\\u202e"),
        (reply(ENVELOPE.replace(b"0.5", b"1e999")), "out of range"),
        (reply(ENVELOPE.replace(b'"err_no":0', b'"err_no":1e999')), "out of range"),
    ],
)
def test_a_malformed_reply_is_a_bad_reply_of_one_short_line(
    hostile: Start, sent: bytes, message: str
) -> None:
    server = hostile(sends(sent))
    url = f"127.0.0.1:{server.port}"
    with (
        HttpClient(url, timeout_s=PATIENCE_S, max_reply_bytes=1_000_000) as client,
        pytest.raises(BadReply, match=message) as caught,
    ):
        client.classify(b"can")
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 700
    assert "check" in said


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate", "identity"])
def test_a_reply_that_is_packed_once_is_read(hostile: Start, encoding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "identity": ENVELOPE,
        "deflate": zlib.compress(ENVELOPE),
        "raw deflate": raw.compress(ENVELOPE) + raw.flush(),
    }.get(encoding, gzip.compress(ENVELOPE))
    server = hostile(sends(reply(packed, f"Content-Encoding: {encoding.rsplit(maxsplit=1)[-1]}")))
    with HttpClient(f"127.0.0.1:{server.port}", timeout_s=PATIENCE_S) as client:
        assert client.classify(b"can")[0].label == "cat"


def peak_of(client: HttpClient) -> int:
    tracemalloc.start()
    try:
        client.classify(b"can", topk=1)
    except ServingError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("encodings", ["gzip", "gzip, gzip"])
def test_the_memory_of_a_bomb_is_near_that_of_an_ordinary_reply(
    hostile: Start, encodings: str
) -> None:
    """300 MB in 300 KB, or packed again in 1 KB; the ordinary reply is near the bound."""
    packed = bomb(300) if encodings == "gzip" else gzip.compress(bomb(300))
    categories = (Category(1, "label of ordinary length", 0.5),) * 20_000
    ordinary = reply_to_json(ClassifyReply((categories,)))
    servers = [
        hostile(sends(reply(ordinary))),
        hostile(sends(reply(packed, f"Content-Encoding: {encodings}"))),
    ]
    peaks = []
    for server in servers:
        url = f"127.0.0.1:{server.port}"
        most = len(ordinary) + 1000
        with HttpClient(url, timeout_s=PATIENCE_S, max_reply_bytes=most) as client:
            peaks.append(peak_of(client))
    assert peaks[1] < 3 * peaks[0]


@pytest.fixture
def start_grpc() -> Any:
    """Start servers that answer every call with the bytes, or the abort, of `handle`."""
    servers = []

    def start(handle: Callable[[Any], bytes], **options: Any) -> str:
        class Handler(grpc.GenericRpcHandler):
            def service(self, _details: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda _, context: handle(context))

        server = grpc.server(
            futures.ThreadPoolExecutor(2),
            handlers=(Handler(),),
            options=[("grpc.max_send_message_length", -1)],
            **options,
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 20,
        b"\x1a\x01\xff",
        b"\x2a\x00" * 100_000,
        pb.Response(key=["label"], value=[]).SerializeToString(),
        pb.Response(key=["label", "prob"], value=["['a']", "[1e999]"]).SerializeToString(),
        pb.Response(key=["label", "prob"], value=["[" * 10**5, "[0.5]"]).SerializeToString(),
        pb.Response(key=["\x1b[31m"], value=["\u202e"]).SerializeToString(),
        bytes(2_000_000),
    ],
    ids=["noise", "no-text", "tensors", "keys", "number", "depth", "escapes", "size"],
)
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_malformed_message_is_a_bad_reply_of_one_short_line(
    start_grpc: Any, sent: bytes, compression: grpc.Compression
) -> None:
    endpoint = start_grpc(lambda _: sent, compression=compression)
    with (
        RpcClient(endpoint, timeout_s=PATIENCE_S, max_reply_bytes=1_000_000) as client,
        pytest.raises(BadReply) as caught,
    ):
        client.classify(b"can")
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 700
    assert "check" in said or "max_reply_bytes" in said


_MOST_RESIDENT = """
import sys
from client.rpc_client import RpcClient
from protocol.errors import ServingError
with RpcClient(sys.argv[1], timeout_s=300) as client:
    try:
        print(client.classify(b"can")[0].label)
    except ServingError as error:
        print(type(error).__name__)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_the_memory_of_a_bomb_over_rpc_is_near_that_of_an_ordinary_reply(
    start_grpc: Any, root: Path
) -> None:
    """400 MB in 400 KB: gRPC unpacks no more than the bound, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc, which knows the most memory that a process had")
    ordinary = pb.Response(key=["label", "prob"], value=["['cat']", "[0.5]"]).SerializeToString()
    bounds = []
    for sent, said in ((ordinary, "cat"), (bytes(400 << 20), "BadReply")):
        endpoint = start_grpc(lambda _, sent=sent: sent, compression=grpc.Compression.Gzip)
        command = [sys.executable, "-c", _MOST_RESIDENT, endpoint]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        outcome, kilobytes = done.stdout.split()
        assert outcome == said
        bounds.append(int(kilobytes))
    assert bounds[1] < 3 * bounds[0]


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_each_status_with_a_hostile_text_is_a_serving_error(
    start_grpc: Any, status: grpc.StatusCode
) -> None:
    def handle(context: Any) -> bytes:
        if status is grpc.StatusCode.OK:
            return b"\xff"
        context.abort(status, "\x1b[31m\u202e" + "x" * 2000)
        return b""

    with (
        RpcClient(start_grpc(handle), timeout_s=PATIENCE_S) as client,
        pytest.raises(ServingError) as caught,
    ):
        client.classify(b"can")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


SETTINGS, PING, WINDOW_UPDATE = 4, 6, 8


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b""),
        (frame(SETTINGS), b""),
        (frame(SETTINGS), frame(PING, bytes(8))),
        (frame(SETTINGS), frame(SETTINGS)),
        (frame(SETTINGS), frame(WINDOW_UPDATE, b"\0\0\0\1")),
    ],
    ids=["silence", "no-reply", "pings", "settings", "windows"],
)
def test_rpc_that_drips_is_left_at_the_timeout(hostile: Start, start: bytes, piece: bytes) -> None:
    server = hostile(drips(start, piece, reads=False))
    with (
        RpcClient(f"127.0.0.1:{server.port}", timeout_s=SOON_S) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.classify(b"can")
    assert isinstance(caught.value, (TimedOut, Unreachable, ConnectionLost))
    assert server.left.wait(PATIENCE_S)


@pytest.mark.parametrize(
    "behave",
    [
        drips(HEAD + b"X: ", b"a"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drips(HEAD + b"Content-Length: 99999\r\n\r\n", b" "),
    ],
    ids=["head", "100-continue", "body"],
)
def test_health_that_drips_is_not_ready_in_time(
    hostile: Start, behave: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.health.TIMEOUT_S", SOON_S)
    url = f"http://127.0.0.1:{hostile(behave).port}/health/ready"
    assert check(url) == (False, f"cannot reach {url}: no whole reply within 0.5 s")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (reply(bytes(10**6)), "is no health address: its reply is over 65536 bytes"),
        (reply(bytes(10**6), status="503 Busy"), "is no health address"),
        (reply(b"\x1b[31m", status="503 Busy"), "\\u001b[31m"),
        (b"\x1b[31m\r\n\r\n", "cannot reach"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nX: " + b"y" * 10**5, "cannot reach"),
        (reply(b"", "Location: gopher://x/", status="302 Found"), ""),
        (reply(b"", "Location: /", status="302 Found"), ""),
        (reply(b"", "Location: http://[", status="302 Found"), ""),
    ],
)
def test_a_hostile_health_address_is_not_ready_and_says_so_in_few_words(
    hostile: Start, sent: bytes, said: str
) -> None:
    ready, text = check(f"http://127.0.0.1:{hostile(sends(sent)).port}/")
    assert not ready
    assert said in text
    assert len(text) < 700
    assert "\x1b" not in text


HOSTILE_LABEL = "\x1b]0;owned\x07 \x9b31m \u202egnp\ncat\r\x00"


def test_a_terminal_gets_no_hostile_text_and_json_gets_all_of_it(
    hostile: Start, in_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"can")
    body = reply_to_json(ClassifyReply(((Category(1, HOSTILE_LABEL, 0.5),),)))
    url = f"127.0.0.1:{hostile(sends(reply(body))).port}"
    shown = in_process(http_client, "--url", url, tmp_path)
    assert shown.returncode == 0
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert "\\u001b]0;owned\\u0007" in shown.stdout
    assert "\\u202egnp\\u000acat" in shown.stdout
    shown = in_process(http_client, "--url", url, tmp_path, "--json")
    assert json.loads(shown.stdout)["topk"][0]["label"] == HOSTILE_LABEL


@pytest.mark.parametrize("command", ["http", "rpc"])
def test_a_command_reports_a_hostile_error_in_one_line(
    hostile: Start, start_grpc: Any, in_process: Any, tmp_path: Path, command: str
) -> None:
    from client.rpc_client import main as rpc_client

    (tmp_path / "a.jpg").write_bytes(b"can")
    text = HOSTILE_LABEL * 50
    if command == "http":
        body = json.dumps({"err_no": 5000, "err_msg": text, "key": [], "value": []}).encode()
        url = f"127.0.0.1:{hostile(sends(reply(body))).port}"
        shown = in_process(http_client, "--url", url, tmp_path)
    else:
        sent = pb.Response(err_no=5000, err_msg=text).SerializeToString()
        shown = in_process(rpc_client, "--endpoint", start_grpc(lambda _: sent), tmp_path)
    assert shown.returncode == 1
    assert "err_no 5000" in shown.stdout
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert "Traceback" not in shown.stderr


def test_tls_inside_the_tls_of_a_proxy_ends_at_the_timeout(
    hostile: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake inside drips records; httpcore's own stream would wait anew after each."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            request(secured)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03\x40\x00\x02")
            pause = threading.Event()
            while True:
                secured.sendall(b"\x00")
                pause.wait(0.02)

    server = hostile(behave)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", f"https://127.0.0.1:{server.port}")
    with HttpClient("https://192.0.2.1", timeout_s=2.0) as client:
        with pytest.raises(ClientError) as caught:
            client.classify(b"can")
        assert isinstance(caught.value, (TimedOut, Unreachable))
    assert server.left.wait(PATIENCE_S)
