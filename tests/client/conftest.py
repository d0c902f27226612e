"""A real HTTP server and a real gRPC server that speak the envelope; the model is a fake.

An image is its own label; the first word of an image may request trouble.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import grpc
import pytest

from protocol.bodies import RawCodec
from protocol.codec import Hints
from protocol.errors import (
    NotReady,
    Overloaded,
    ServiceNotFound,
    ServingError,
    UndecodableImage,
    wire_codes,
)
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.key_value.reply import error_to_json, error_to_proto, reply_to_json, reply_to_proto
from protocol.key_value.request import request_from_json, request_from_message
from protocol.reply import Category, ClassifyReply, whole_failure
from protocol.request import ClassifyRequest
from tests.patience import PATIENCE_S

# Recorded from the official gateway, for a JPEG as the body.
GATEWAY_ERROR = (
    b'{"error":"invalid character \'\xc3\xbf\' looking for beginning of value","code":3,'
    b'"message":"invalid character \'\xc3\xbf\' looking for beginning of value","details":[]}'
)
STOCK_ANSWER = b'{"err_no":0,"err_msg":"","key":["label","prob"],"value":["[\'daisy\']","[0.9]"]}'


class FakeService:
    """Answers; `refusals` are raised first, one a request.

    `content_types` lists the Content-Type of each HTTP request. With `reads_raw` False a raw image
    is refused as the gateway of Paddle Serving 0.9 does it. `GET /` lists the services if `lists`.
    """

    def __init__(self) -> None:
        self.refusals: list[ServingError] = []
        self.requests: list[ClassifyRequest] = []
        self.deadlines_s: list[float] = []
        self.content_types: list[str] = []
        self.reads_raw = True
        self.services: tuple[str, ...] = ("waste",)
        self.lists = True

    def answer(self, request: ClassifyRequest) -> ClassifyReply:
        self.requests.append(request)
        if self.refusals:
            raise self.refusals.pop(0)
        known = request.service in self.services or (
            not request.service and len(self.services) == 1
        )
        if not known:
            names = ", ".join(self.services)
            raise ServiceNotFound(
                f"there is no service {request.service!r} here; services: {names}"
            )
        reply = ClassifyReply(tuple(self._one(image.data, image.topk) for image in request.images))
        failure = whole_failure(reply)
        if failure is not None:
            raise failure
        return reply

    def _one(self, image: bytes, topk: int | None) -> Any:
        text = image.decode("utf-8", errors="replace")
        if text.startswith("bad"):
            return UndecodableImage("this looks like text")
        if text.startswith("slow"):
            time.sleep(1.5)
        return tuple(Category(i, f"{text} {i}", 0.9 / (i + 1)) for i in range(topk or 1))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fake: FakeService = self.server.fake  # type: ignore[attr-defined]
        listed = {"services": [{"service": name} for name in fake.services]}
        self._send(200, json.dumps(listed).encode()) if fake.lists else self._send(404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fake: FakeService = self.server.fake  # type: ignore[attr-defined]
        fake.deadlines_s.append(float(self.headers["X-Request-Timeout"]))
        fake.content_types.append(self.headers["Content-Type"])
        try:
            if self.headers["Content-Type"] != "application/json" and not fake.reads_raw:
                self._send(400, GATEWAY_ERROR)
                return
            request = self._request(body)
            first = request.images[0].data
            if first.startswith(b"reset"):
                self.close_connection = True
                self.connection.shutdown(2)
                return
            if first.startswith(b"garbage"):
                self._send(200, b"<html>a gateway</html>")
            elif first.startswith(b"stock"):
                self._send(200, STOCK_ANSWER)
            else:
                self._send(200, reply_to_json(fake.answer(request)))
        except ServingError as error:
            self._send(wire_codes(error).http_status, error_to_json(error))

    def _request(self, body: bytes) -> ClassifyRequest:
        address = urlsplit(self.path)
        service = address.path.strip("/").split("/")[0]
        if self.headers["Content-Type"] == "application/json":
            return request_from_json(body, Hints(service))
        options = dict(parse_qsl(address.query, strict_parsing=bool(address.query)))
        return RawCodec().read(body, Hints(service, self.headers["Content-Type"], options))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Servicer(pb_grpc.PipelineServiceServicer):
    def __init__(self, fake: FakeService) -> None:
        self._fake = fake

    def inference(self, request: pb.Request, context: grpc.ServicerContext) -> pb.Response:
        try:
            self._fake.deadlines_s.append(context.time_remaining())
            classify_request = request_from_message(
                request.SerializeToString(), Hints(request.name)
            )
            if classify_request.images[0].data.startswith(b"garbage"):
                return pb.Response(key=["res"], value=["?"])
            return reply_to_proto(self._fake.answer(classify_request))
        except ServingError as error:
            return error_to_proto(error)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away, as some tests want it; printing may outlive its test."""


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def url(fake: FakeService) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint(fake: FakeService) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    pb_grpc.add_PipelineServiceServicer_to_server(_Servicer(fake), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture(params=["http", "rpc"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An HttpClient and an RpcClient in turn: what they share is tested on both."""
    from client.http_client import HttpClient
    from client.rpc_client import RpcClient

    if request.param == "http":
        made: Any = HttpClient(request.getfixturevalue("url"), timeout_s=PATIENCE_S, retries=3)
    else:
        made = RpcClient(request.getfixturevalue("endpoint"), timeout_s=PATIENCE_S, retries=3)
    with made:
        yield made


__all__ = ["FakeService", "NotReady", "Overloaded"]
