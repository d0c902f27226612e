"""One connection of each wire, whose client costs as little as Python allows.

The client waits in the kernel, without an event loop, so that what is measured is the service.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2

from protocol.key_value.received import reply_from_json, reply_from_message
from protocol.key_value.request import request_to_json, request_to_proto
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest, encoded

from .load import LOCAL_CHANNEL, METHOD
from .service import HOST, RunningService

_HEALTH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True)
class Wire:
    """How images are sent over one connection.

    Attributes:
        name: of the table.
        protocol: as the service's metrics have it.
        send: sends image number i, and returns the body of the reply.
        read: reads that body.
        idle: a round trip without any work: a call of health.
        close: closes the connection.
    """

    name: str
    protocol: str
    send: Callable[[int], bytes]
    read: Callable[[bytes], ClassifyReply]
    idle: Callable[[], bytes]
    close: Callable[[], None]


def wires(service: RunningService, name: str, images: list[bytes]) -> list[Wire]:
    """Return a connection for raw images, the JSON envelope and RPC; `name` is the service's."""
    requests = [ClassifyRequest(encoded([image]), name) for image in images]
    path = f"POST /{name}/prediction HTTP/1.1"
    raw = [_message(path, "application/octet-stream", image) for image in images]
    json = [_message(path, "application/json", request_to_json(each)) for each in requests]
    proto = [request_to_proto(each).SerializeToString() for each in requests]
    return [
        _http("HTTP, raw", service.http_port, raw),
        _http("HTTP, JSON", service.http_port, json),
        _rpc(service.endpoint, proto),
    ]


def _message(line: str, kind: str, body: bytes) -> bytes:
    head = f"{line}\r\nHost: {HOST}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _http(name: str, port: int, messages: list[bytes]) -> Wire:
    connection = socket.create_connection((HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    health = b"GET /health/live HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n"

    def exchange(message: bytes) -> bytes:
        connection.sendall(message)
        received = connection.recv(65536)
        while True:
            head, found, body = received.partition(b"\r\n\r\n")
            if found:
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                if len(body) == int(length):
                    break
            received += connection.recv(65536)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(body.decode(errors="replace"))
        return body

    return Wire(
        name,
        "http",
        lambda image: exchange(messages[image]),
        reply_from_json,
        lambda: exchange(health),
        connection.close,
    )


def _rpc(endpoint: str, messages: list[bytes]) -> Wire:
    channel = grpc.insecure_channel(endpoint, options=LOCAL_CHANNEL)
    inference: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_HEALTH)
    health = health_pb2.HealthCheckRequest().SerializeToString()
    return Wire(
        "RPC",
        "rpc",
        lambda image: bytes(inference(messages[image], timeout=60)),
        reply_from_message,
        lambda: bytes(check(health, timeout=60)),
        channel.close,
    )
