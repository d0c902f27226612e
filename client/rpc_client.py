"""`python client/rpc_client.py [IMAGE|FOLDER ...]`: classify images over RPC (gRPC).

Importable too: `with RpcClient("127.0.0.1:9993") as client: client.classify("cat.jpg")`.
Talks to this project's service and to Paddle Serving 0.9.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Read at the import: gRPC logs what the error says anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

if __package__ in (None, ""):
    # Run as a script: this folder is first on the path, and the repository's root belongs there.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from client.address import (
    DEFAULT_ENDPOINT,
    DEFAULT_SERVICE,
    endpoint_is_loopback,
    host_and_port,
    rpc_endpoint,
)
from client.classify_client import (
    DEFAULT_MAX_REPLY_BYTES,
    DEFAULT_TIMEOUT_S,
    ClassifyClient,
)
from client.command import Call, command_parser, run_command
from client.credentials import Credentials
from client.deadline import Deadline
from client.diagnosis import explanation, look_at, proxy_of, through
from client.errors import BadReply, ConnectionLost, NotListening, TimedOut, Unreachable
from protocol.console import as_command
from protocol.errors import (
    InvalidRequest,
    Overloaded,
    PredictionFailed,
    ServiceNotFound,
    ServingError,
    TooLarge,
    UnreadableReply,
)
from protocol.escaping import escaped_line
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.received import reply_from_message
from protocol.key_value.request import request_to_proto
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

CONNECT_TIMEOUT_MS = 5000
MAX_MESSAGE_BYTES = 512 << 20  # of a request: 0.9's limit
METHOD = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
LONGEST_DETAILS = 300  # characters
# Words in gRPC's message where no connection could be made, or the server is no gRPC server.
NEVER_CONNECTED = ("failed to connect", "resolution", "resolving", "lookup", "handshake")
REFUSED = "connection refused"
# Statuses of a gateway in front of the service; the service's own errors are in the Response.
GATEWAY_ERRORS: dict[grpc.StatusCode, type[ServingError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: ServiceNotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.INTERNAL: PredictionFailed,
}


class RpcClient(ClassifyClient):
    """Client of `PipelineService.inference`.

    Args:
        endpoint: HOST:PORT, the host a name or an address.
        timeout_s: seconds for one request: looking up the name, connecting, the call, and retries,
            all together.
        service: the service's name; `waste` if none is named, or the only one that there is.
        retries: how often a refused request is sent again; one to a service that starts is.
        options: further gRPC channel options, as ("grpc.lb_policy_name", "round_robin").
        credentials: API key and certificates.
        tls: whether to use TLS; certificates imply it.
        max_reply_bytes: bytes of a reply, unpacked; a larger one is a BadReply.

    Raises:
        ValueError: `endpoint` is not HOST:PORT, or a file of the credentials cannot be read.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        service: str | None = None,
        retries: int = 0,
        options: Sequence[tuple[str, Any]] = (),
        credentials: Credentials | None = None,
        tls: bool = False,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
    ) -> None:
        credentials = credentials or Credentials()
        self._metadata = tuple(credentials.headers().items())
        self.endpoint = rpc_endpoint(endpoint)
        super().__init__(
            service=service or DEFAULT_SERVICE,
            timeout_s=timeout_s,
            retries=retries,
            max_reply_bytes=max_reply_bytes,
        )
        self._is_named = service is not None
        self._has_answered = False
        self._tls = tls or credentials.means_tls
        self._credentials = credentials
        is_here = endpoint_is_loopback(self.endpoint)
        host = self.endpoint.rpartition(":")[0].strip("[]")
        # In gRPC's order.
        self._proxy = "" if is_here else proxy_of(host, "grpc", "https", "http")
        channel_options = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # gRPC keeps to it while it unpacks a compressed message, too.
            ("grpc.max_receive_message_length", max_reply_bytes),
            # A retry shall find a new connection, not the pause after a failed one.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Despite its name, the time that one attempt to connect may take.
            ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
            # A proxy set in the environment cannot reach this machine's own ports.
            ("grpc.enable_http_proxy", 0 if is_here else 1),
            *options,
        ]
        if self._tls:
            self._channel = grpc.secure_channel(
                self.endpoint, credentials.channel_credentials(), options=channel_options
            )
        else:
            self._channel = grpc.insecure_channel(self.endpoint, options=channel_options)
        # Replies as bytes: their fields are counted before protobuf reads them.
        self._call: grpc.UnaryUnaryMultiCallable[Any, bytes] = self._channel.unary_unary(
            METHOD, request_serializer=pb.Request.SerializeToString
        )

    @property
    def _where(self) -> str:
        return self.endpoint

    def _exchange(self, request: ClassifyRequest, deadline: Deadline) -> ClassifyReply:
        try:
            return self._exchange_named(request, deadline)
        except ServiceNotFound:
            if self._is_named or request.service != DEFAULT_SERVICE:
                raise
        # An empty name means the only service there is.
        self.service = ""
        unnamed = dataclasses.replace(request, service="")
        return self._exchange_named(unnamed, deadline)

    def _exchange_named(self, request: ClassifyRequest, deadline: Deadline) -> ClassifyReply:
        try:
            data = self._call(
                request_to_proto(request),
                timeout=max(deadline.left_s(), 0.001),
                metadata=self._metadata,
            )
        except grpc.RpcError as error:
            raise self._translated(error, deadline) from error
        except ValueError as error:
            raise RuntimeError(f"the client of {self.endpoint} is closed") from error
        self._has_answered = True
        try:
            return reply_from_message(data)
        except UnreadableReply as error:
            raise BadReply(f"{self.endpoint}: {error}; check host and port") from error

    def _translated(self, error: grpc.RpcError, deadline: Deadline) -> ServingError:
        status = error.code()
        details = escaped_line(" ".join((error.details() or "")[:LONGEST_DETAILS].split()))
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut(f"{self.endpoint} did not answer within {self._timeout_s:g} s")
        if status is grpc.StatusCode.UNAVAILABLE:
            return self._unavailable(details.lower(), deadline)
        if status is grpc.StatusCode.CANCELLED:
            return ConnectionLost(
                f"{self.endpoint} ended the call before its reply: the service is stopping, or a "
                "gateway in between gave up; send the request again"
            )
        if "larger than max" in details:
            return self._too_large(details)
        kind = GATEWAY_ERRORS.get(status)
        if kind is not None:
            return kind(details or status.name)
        return BadReply(
            f"{self.endpoint} speaks gRPC, but not PipelineService.inference "
            f"({status.name}: {details}); check host and port"
        )

    def _too_large(self, details: str) -> ServingError:
        """Return the error for a message over a limit: gRPC says on which side."""
        if "CLIENT: Received" in details or "Decompressed" in details:
            return BadReply(
                f"the reply of {self.endpoint} is over {self._max_reply_bytes} bytes "
                f"(max_reply_bytes of the client): {details}"
            )
        return TooLarge(f"the message is over a limit on the way: {details}")

    def _unavailable(self, details: str, deadline: Deadline) -> ServingError:
        """Return the error for a call without a connection, or with one that broke."""
        way = through(self._proxy)
        if REFUSED in details and not self._proxy:
            return NotListening(f"cannot reach {self.endpoint}: {REFUSED}")
        found = "" if self._has_answered else self._look(deadline)
        if found or any(words in details for words in NEVER_CONNECTED):
            return Unreachable(f"cannot reach {self.endpoint}: {found or _reason(details)}{way}")
        return ConnectionLost(f"{self.endpoint} broke the connection: {details}{way}")

    def _look(self, deadline: Deadline) -> str:
        """Return what is wrong with the address, or "": it is looked at only after a failure."""
        address = host_and_port(self.endpoint)
        if self._proxy or address is None:
            return ""
        return explanation(
            look_at(*address, self._credentials.ssl_context(), deadline), "gRPC", tls=self._tls
        )

    def close(self) -> None:
        """Close the channel; this cancels calls that still run."""
        self._channel.close()


def _reason(details: str) -> str:
    """Return the last of gRPC's chain of causes, which names the reason."""
    if "failed parsing http/2" in details:
        return "what listens there does not speak gRPC; give the RPC port"
    return details.rpartition(":")[2].strip(" ]") or "no connection"


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify the images that the command line names; return the exit code."""
    parser = command_parser("client/rpc_client.py", "Classify images over RPC (gRPC).")
    parser.add_argument(
        "--endpoint",
        default=DEFAULT_ENDPOINT,
        metavar="HOST:PORT",
        help=f"where the service listens for RPC (default: {DEFAULT_ENDPOINT})",
    )

    parser.add_argument("--tls", action="store_true", help="use TLS (implied by --ca and --cert)")

    def connect(call: Call) -> RpcClient:
        return RpcClient(
            call.options.endpoint,
            timeout_s=call.timeout_s,
            service=call.service,
            retries=call.retries,
            credentials=call.credentials,
            tls=call.options.tls,
        )

    return run_command(parser, connect, arguments)


if __name__ == "__main__":
    sys.exit(as_command(main))
