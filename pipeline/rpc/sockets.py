"""The sockets of a port, which gRPC keeps to itself, and the addresses of its clients."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

FOLDER_OF_DESCRIPTORS = "/dev/fd"

Address = tuple[str, int]


class Port:
    """The number of a port, None until its server listens."""

    def __init__(self) -> None:
        self.number: int | None = None


def sockets_of(port: int) -> Iterator[socket.socket]:
    """Yield the sockets of this process that have this port here, each as a duplicate."""
    for descriptor in list(Path(FOLDER_OF_DESCRIPTORS).iterdir()):
        try:
            duplicate = os.dup(int(descriptor.name))
        except OSError:  # closed meanwhile
            continue
        try:
            found = socket.socket(fileno=duplicate)
        except OSError:  # no socket
            os.close(duplicate)
            continue
        with found, contextlib.suppress(OSError):
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
                yield found


@functools.lru_cache(4096)
def address_of_peer(peer: str) -> Address | None:
    """Return the address in gRPC's "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return address_of((host.strip("[]"), int(port)))


def address_of(name: tuple[Any, ...]) -> Address:
    """Return host and port; an IPv4 address in IPv6 is one of IPv4."""
    host = ipaddress.ip_address(str(name[0]).partition("%")[0])
    return str(getattr(host, "ipv4_mapped", None) or host), int(name[1])
