"""The ports of one service process: opened, or refused in one line, before anything is started."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import grpc.aio

from ..settings.config import ServiceSettings
from ..settings.errors import ConfigError

logger = logging.getLogger(__name__)

_EVERY_IPV4, _EVERY_ADDRESS = "0.0.0.0", "::"  # noqa: S104 - only if configured


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports that were really opened; None where not served."""

    host: str
    http_port: int | None
    rpc_port: int | None
    metrics_port: int | None
    tls: bool
    admin: str | None  # the admin address's URL


@dataclass(frozen=True, slots=True)
class OpenPorts:
    """Sockets that listen already, for each of the HTTP applications, and all addresses.

    `rpc` is the IP address and the port that gRPC is to open, None if RPC is not served; until it
    does, `rpc_reservation` keeps the port from being given to a connection of another program.
    """

    http: list[socket.socket]
    rpc: tuple[str, int] | None
    rpc_reservation: socket.socket | None
    metrics: list[socket.socket]
    admin: list[socket.socket]
    addresses: Addresses

    def close(self) -> None:
        """Close all sockets."""
        for listening in (*self.http, *self.metrics, *self.admin):
            listening.close()
        if self.rpc_reservation is not None:
            self.rpc_reservation.close()


def open_ports(settings: ServiceSettings) -> OpenPorts:
    """Open the HTTP ports and choose the RPC port.

    Raises:
        ConfigError: a port is in use, or the address may not be listened on.
    """
    with contextlib.ExitStack() as undo:

        def listen(host: str, port: int | None, key: str) -> list[socket.socket]:
            return [] if port is None else [undo.enter_context(_listen(host, port, key))]

        http = listen(settings.host, settings.http_port, "http_port")
        metrics = listen(settings.host, settings.metrics_port, "dag.prometheus_port")
        rpc = reservation = None
        if settings.rpc_port is not None:
            # gRPC opens its port itself, with a poor error message: so try the port first.
            with _listen(settings.host, settings.rpc_port, "rpc_port") as probe:
                rpc = str(probe.getsockname()[0]), _port(probe)
            reservation = undo.enter_context(_reserved(*rpc))
        admin = []
        if settings.admin is not None:
            try:
                admin = listen(settings.admin.host, settings.admin.port, "admin.port")
            except ConfigError as error:
                if not settings.admin.optional:
                    raise
                logger.warning(
                    "no admin address, so no /metrics and no reload over HTTP: %s", error
                )
        undo.pop_all()
    addresses = Addresses(
        settings.host,
        _port(http[0]) if http else None,
        rpc[1] if rpc else None,
        _port(metrics[0]) if metrics else None,
        settings.access.tls is not None,
        f"http://{authority(settings.admin.host, _port(admin[0]))}"
        if settings.admin and admin
        else None,
    )
    return OpenPorts(http, rpc, reservation, metrics, admin, addresses)


def authority(host: str, port: int) -> str:
    """Return host and port as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def add_rpc_port(
    server: grpc.aio.Server, address: tuple[str, int], credentials: grpc.ServerCredentials | None
) -> None:
    """Have `server` listen on an IP address and port, and on no other.

    Raises:
        ConfigError: it may not.
    """
    host, port = address
    text = authority(host, port)
    reason = ""
    try:
        with _ipv6_withheld(port) if host == _EVERY_IPV4 else contextlib.nullcontext():
            if credentials is None:
                bound = server.add_insecure_port(text)
            else:
                bound = server.add_secure_port(text, credentials)
    except RuntimeError as error:
        bound, reason = 0, f": {error}"
    if bound != port:
        raise ConfigError(f"port {port} (rpc_port) on {host} cannot be opened{reason}")


@contextlib.contextmanager
def _ipv6_withheld(port: int) -> Iterator[None]:
    """Occupy the port on every IPv6 address while gRPC opens it on IPv4.

    For 0.0.0.0 gRPC would open [::], which serves both families; if that fails it opens IPv4 alone.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no IPv6 here, or the port is taken
            occupied = stack.enter_context(socket.socket(socket.AF_INET6))
            occupied.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            occupied.bind(("::", port))
        yield


def _reserved(host: str, port: int) -> socket.socket:
    """Return a socket that has the port and does not listen.

    Another one may listen there all the same, as gRPC will; but the kernel gives the port to no
    connection that a program opens meanwhile.
    """
    reservation = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):  # taken by another: gRPC reports it
        reservation.bind((host, port))
    return reservation


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches the socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _listen(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # "::" is every address of both families, as gRPC has it and the kernel too.
    both = host == _EVERY_ADDRESS and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        reason = "is in use" if error.errno == 98 else f"cannot be opened ({error.strerror})"
        raise ConfigError(
            f"port {port} ({key}) on {host} {reason}; stop what holds it or choose another: "
            f"-o {key}={port + 1 if port else 0}"
        ) from error
