"""The gRPC server: its bounds on connections, and the services on it."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ..admission.desk import Desk
from .health import RpcHealthServicer
from .key_value import SERVICE_NAME, key_value_handler
from .leaving import RunningCalls


def build_rpc_server(
    desk: Desk,
    *,
    max_body_bytes: int,
    max_connections: int = 1024,
    longest_s: float = 60.0,
    calls: RunningCalls | None = None,
) -> grpc.aio.Server:
    """Return a server without a port, which gives calls to `desk` and counts them in `calls`.

    Messages over `max_body_bytes` end in RESOURCE_EXHAUSTED. One connection too many is closed at
    once, and each after some minutes, when its calls have had `longest_s` seconds to end: no stream
    keeps its place for ever.
    """
    calls = calls or RunningCalls()
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
            ("grpc.max_concurrent_streams", 256),
        ]
    )
    server.add_generic_rpc_handlers((key_value_handler(desk, max_body_bytes, calls),))
    health_pb2_grpc.add_HealthServicer_to_server(RpcHealthServicer(desk.services, calls), server)
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server
