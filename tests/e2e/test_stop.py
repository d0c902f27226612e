"""SIGTERM under load: each call is answered, refused with 3001, or finds no service."""

from __future__ import annotations

import base64
import json
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.http2 import INFERENCE, Http2Connection, message
from tests.patience import PATIENCE_S


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["one connection", "a connection each"])
def test_no_rpc_call_is_cancelled_by_a_stop(
    start_any_service: Any, tiny_config: Path, images: list[bytes], shared: bool
) -> None:
    outcomes: Counter[Any] = Counter()
    gone = threading.Event()
    request = pb.Request(tensors=[pb.Tensor(name="image", byte_data=images[0])])

    def call(channel: grpc.Channel) -> None:
        stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
        while not gone.is_set():
            try:
                outcomes[stub.inference(request, timeout=PATIENCE_S).err_no] += 1
            except grpc.RpcError as error:
                outcomes[error.code()] += 1
                gone.wait(0.01)

    with start_any_service(tiny_config, "op.waste.concurrency=1") as service:
        options = [] if shared else [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.insecure_channel(service.endpoint, options=options) for _ in range(8)]
        callers = [threading.Thread(target=call, args=(channel,)) for channel in channels]
        for caller in callers:
            caller.start()
        while outcomes[0] < 50:
            gone.wait(0.01)
        assert service.stop() == 0
        gone.set()
        for caller in callers:
            caller.join()
        for channel in channels:
            channel.close()
        assert not [line for line in service.err if "chttp2" in line or "posix" in line]
    assert set(outcomes) <= {0, 3001, grpc.StatusCode.UNAVAILABLE}, outcomes


FORMS = ["json", "image", "paddlex", "upload", "chunked"]


def upload(form: str, image: bytes) -> tuple[bytes, bytes]:
    """Return head and body of a request that carries one image."""
    head, body = "Content-Type: image/jpeg", image
    if form == "json":
        value = base64.b64encode(image).decode()
        head, body = "Content-Type: application/json", _json({"key": ["image"], "value": [value]})
    elif form == "upload":
        head = "Content-Type: multipart/form-data; boundary=b"
        part = b'Content-Disposition: form-data; name="image"; filename="a.jpg"'
        body = b"--b\r\n" + part + b"\r\n\r\n" + image + b"\r\n--b--\r\n"
    length = f"Content-Length: {len(body)}"
    if form == "chunked":
        length, body = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    address = "/waste/prediction" + ("?form=paddlex" if form == "paddlex" else "")
    return f"POST {address} HTTP/1.1\r\nHost: x\r\n{head}\r\n{length}\r\n\r\n".encode(), body


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def begin(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    connection.sendall(sent)
    return connection


def until_stopping(service: Any) -> None:
    """Wait until new requests are refused, over a connection that was there before."""
    while httpx.get(f"{service.url}/health/ready").json()["status"] != "stopping":
        time.sleep(0.01)


def read_reply(connection: socket.socket) -> tuple[bytes, dict[str, str], bytes]:
    """Return status, headers and body of the last reply on `connection`, which is closed then."""
    received = b""
    with connection:
        while more := connection.recv(65536):
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = dict(line.decode().lower().split(": ", 1) for line in lines)
    return status.split()[1], headers, body


def test_uploads_that_began_before_a_stop_are_answered(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    with start_any_service(tiny_config, "op.waste.concurrency=1") as service:
        port = service.http_port
        uploads = [upload(form, images[0]) for form in FORMS]
        cuts = [len(head) + len(body) // 2 for head, body in uploads]
        cuts[0] = 3  # within the head
        sent = [head + body for head, body in uploads]
        connections = [begin(port, all_[:cut]) for all_, cut in zip(sent, cuts, strict=True)]
        httpx.get(f"{service.url}/health/live")  # so that their bytes have been read
        service.process.send_signal(signal.SIGTERM)
        until_stopping(service)
        late = begin(port, uploads[1][0])
        assert json.loads(read_reply(late)[2])["err_no"] == 3001
        for connection, all_, cut in zip(connections, sent, cuts, strict=True):
            connection.sendall(all_[cut:])
            status, headers, body = read_reply(connection)
            assert status == b"200", body
            assert headers["connection"] == "close"
        assert service.process.wait(PATIENCE_S) == 0
        assert not [line for line in service.err if "Traceback" in line or "cut off" in line]


def test_uploads_that_a_stop_cuts_off_get_the_error_of_their_wire(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    options = ("op.waste.concurrency=1", "drain_timeout=1")
    with start_any_service(tiny_config, *options) as service:
        port = service.http_port
        sent = [(head + body)[:-10] for head, body in (upload(form, images[0]) for form in FORMS)]
        connections = [begin(port, cut) for cut in (*sent, b"POST /waste/pred")]
        httpx.get(f"{service.url}/health/live")
        service.process.send_signal(signal.SIGTERM)
        for connection in connections:
            status, headers, body = read_reply(connection)
            assert (status, headers["content-type"]) == (b"503", "application/json")
            assert headers["connection"] == "close"
            assert json.loads(body)["err_no"] == 3001
        assert service.process.wait(PATIENCE_S) == 1
        assert not [line for line in service.err if "Traceback" in line]
        assert [line for line in service.err if "6 requests were cut off after 1 s" in line]


def half_sent_call(connection: Http2Connection, image: bytes) -> tuple[int, bytes]:
    """Begin a call and send the first half of its message; return its stream and the rest."""
    request = pb.Request(tensors=[pb.Tensor(name="image", byte_data=image)])
    sent = message(request.SerializeToString())
    stream = connection.begin(INFERENCE)
    connection.send(stream, sent[: len(sent) // 2])
    return stream, sent[len(sent) // 2 :]


def test_rpc_calls_that_began_before_a_stop_are_answered(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    with (
        start_any_service(tiny_config, "op.waste.concurrency=1") as service,
        Http2Connection(service.rpc_port) as connection,
    ):
        stream, rest = half_sent_call(connection, images[0])
        until_rpc_has_read(service)
        service.process.send_signal(signal.SIGTERM)
        until_stopping(service)
        connection.send(stream, rest, end=True)
        assert pb.Response.FromString(connection.read_reply(stream)).err_no == 0
        assert service.process.wait(PATIENCE_S) == 0


def test_rpc_calls_that_a_stop_cuts_off_get_the_error_of_their_wire(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    options = ("op.waste.concurrency=1", "drain_timeout=1")
    with (
        start_any_service(tiny_config, *options) as service,
        Http2Connection(service.rpc_port) as connection,
    ):
        calls = [half_sent_call(connection, images[0]) for _ in range(3)]
        until_rpc_has_read(service)
        service.process.send_signal(signal.SIGTERM)
        for stream, _ in calls:
            assert pb.Response.FromString(connection.read_reply(stream)).err_no == 3001
        assert service.process.wait(PATIENCE_S) == 1
        assert not [line for line in service.err if "Traceback" in line]
        assert [line for line in service.err if "3 requests were cut off after 1 s" in line]


def until_rpc_has_read(service: Any) -> None:
    """Have a whole call answered on another connection: what was sent before has been read."""
    with grpc.insecure_channel(service.endpoint) as channel:
        stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
        assert stub.inference(pb.Request(), timeout=PATIENCE_S).err_no == 5000


@pytest.mark.parametrize(("drain_s", "cut"), [(60, False), (0, True)])
def test_requests_that_are_parsed_at_a_stop_are_answered_or_get_the_error_of_their_wire(
    start_any_service: Any, tiny_config: Path, drain_s: int, cut: bool
) -> None:
    value = base64.b64encode(bytes(9 * 2**20)).decode()
    body = _json({"key": ["image"], "value": [value]})
    head = f"POST /waste/prediction HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    options = ("op.waste.concurrency=1", f"drain_timeout={drain_s}")
    with start_any_service(tiny_config, *options) as service:
        port = service.http_port
        connections = [begin(port, head.encode() + body) for _ in range(8)]
        service.process.send_signal(signal.SIGTERM)
        replies = [read_reply(connection) for connection in connections]
        exit_code = service.process.wait(PATIENCE_S)
        assert {headers["content-type"] for _, headers, _ in replies} == {"application/json"}
        numbers = [json.loads(body)["err_no"] for _, _, body in replies]
        # What was parsed before is no image.
        assert set(numbers) <= ({3001, 5001} if cut else {5001})
        assert exit_code == (1 if 3001 in numbers else 0)
        assert not [line for line in service.err if "Traceback" in line]
