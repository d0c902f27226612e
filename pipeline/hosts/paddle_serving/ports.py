"""The ports that Paddle Serving 0.9 listens on: from config.yml, free, and open.

Kept clean for Python 3.8.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any, Mapping

from .errors import ConfigurationError

_MAX_PORT = 65535
_GATEWAY_TIMEOUT_S = 30


def ports_of(server: Mapping[str, Any]) -> dict[str, int]:
    """Return the ports that 0.9 will listen on, by the keys that give them."""
    ports = {key: server[key] for key in ("http_port", "rpc_port") if key in server}
    if server["dag"].get("enable_prometheus"):
        ports["dag.prometheus_port"] = server["dag"]["prometheus_port"]
    return ports


def check_ports(server: Mapping[str, Any], path: Path) -> None:
    """Check that each port is a port and has one use: 0.9 reports it with a page of C++.

    Raises:
        ConfigurationError: likewise.
    """
    ports = ports_of(server)
    for key, port in ports.items():
        if not 0 < port <= _MAX_PORT:
            raise ConfigurationError(
                "{}: {} is {}; give a number from 1 to {}".format(path, key, port, _MAX_PORT)
            )
        twins = [other for other in ports if ports[other] == port]
        if len(twins) > 1:
            raise ConfigurationError(
                "{}: {} are both {}; choose another port for one".format(
                    path, " and ".join(twins[:2]), port
                )
            )


def set_ports(server: dict[str, Any], tree: Mapping[str, Any], path: Path) -> None:
    """Give `server` the RPC port that our engine would take for the configuration `tree`.

    Raises:
        ConfigurationError: there is no port, or one that 0.9 cannot choose itself.
    """
    for key in ("http_port", "rpc_port"):
        if server.get(key) == 0:
            raise ConfigurationError(
                "{}: {}: 0.9 cannot take any free port; give one from 1 to 65535".format(path, key)
            )
    if "rpc_port" not in tree and "http_port" in server:
        server["rpc_port"] = server["http_port"] + 1
    if "rpc_port" not in server and "http_port" not in server:
        raise ConfigurationError("{}: give http_port, rpc_port or both".format(path))


def check_free(server: Mapping[str, Any], path: Path) -> None:
    """Check that every port is free: of one that is taken, 0.9 reports little.

    Raises:
        ConfigurationError: a port is taken, or may not be listened on.
    """
    for key, port in ports_of(server).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
                probe.listen()
            except OSError as error:
                raise ConfigurationError(
                    "{}: {} {}: {}; stop what listens there, or choose another port".format(
                        path, key, port, error.strerror
                    )
                ) from error


def wait_for_port(port: int) -> None:
    """Wait until the HTTP gateway, a process of its own, listens.

    Raises:
        ConfigurationError: it does not in time.
    """
    deadline = time.monotonic() + _GATEWAY_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ConfigurationError("the HTTP gateway of 0.9 did not open port {}".format(port))
