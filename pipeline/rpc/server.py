"""The gRPC server: its bounds on connections, and the services on it."""

from __future__ import annotations

import grpc.aio

from ..admission.desk import Desk
from ..admission.inflight import Inflight
from . import health, reflection
from .arriving import Arriving
from .key_value import SERVICE_NAME, key_value_handler
from .leaving import RunningCalls
from .packing import KEEP_PACKED
from .small_calls import Messages

# So much of a stream may come before its message is read, or refused. HTTP/2's own number, so that
# it holds from the first byte on, before a client knows what this server wants.
UNREAD_BYTES = 65_535
MOST_STREAMS = 64
# Calls that wait for the event loop, each with what has come of its message. They stay when their
# connection is closed, so a client that connects again and again adds to them. One call more is
# CANCELLED, that of an honest caller too. These are the calls of 32 connections.
MOST_PENDING = 32 * MOST_STREAMS


def build_rpc_server(
    desk: Desk,
    *,
    max_body_bytes: int,
    max_connections: int = 1024,
    longest_s: float = 60.0,
    calls: RunningCalls | None = None,
    arriving: Arriving | None = None,
) -> grpc.aio.Server:
    """Return a server without a port, which gives calls to `desk` and counts them in `calls`.

    What arrives of their messages counts in `arriving`, once it has a port.

    Messages over `max_body_bytes` end in RESOURCE_EXHAUSTED. One connection too many is closed at
    once, and each after some minutes, when its calls have had `longest_s` seconds to end: no stream
    keeps its place for ever.
    """
    calls = calls or RunningCalls()
    arriving = arriving or Arriving(desk.inflight, max_body_bytes)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # Two services on one port would share its requests by chance; refuse instead.
            ("grpc.so_reuseport", 0),
            # Ends connections whose clients vanished without closing them.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Connections are few, and an idle one keeps new callers out. Not a round number: a
            # client that calls every 30 s would often find its connection just closed.
            ("grpc.max_connection_idle_ms", 27_000),
            ("grpc.max_connection_age_ms", 600_000),
            ("grpc.max_connection_age_grace_ms", int(1000 * longest_s)),
            ("grpc.server_handshake_timeout_ms", 20_000),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.max_concurrent_streams", MOST_STREAMS),
            # gRPC's own number is 1000 to 3000, by chance between them.
            ("grpc.server.max_pending_requests", MOST_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", MOST_PENDING),
            # gRPC would let what is unread grow to 4 MiB for each stream.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
            *KEEP_PACKED,
        ]
    )
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    # Of the calls that need no key: as much as one message may have.
    messages = Messages(Arriving(Inflight(max_body_bytes), max_body_bytes, arriving.port))
    server.add_generic_rpc_handlers(
        (
            key_value_handler(desk, max_body_bytes, calls, arriving),
            health.RpcHealth(desk.services, calls, messages).handler(),
            reflection.RpcReflection(names, desk.keys, calls, messages).handler(),
        )
    )
    return server
