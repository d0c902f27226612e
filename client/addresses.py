"""The addresses of a host, looked up within a time.

The system's resolver has a time of its own, up to minutes, and cannot be interrupted. So it works
in a thread, which is left behind when it takes too long; the thread keeps no process from ending.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from typing import Any

from client.deadline import Deadline


def addresses_of(host: str, port: int, deadline: Deadline) -> list[tuple[str, int]]:
    """Return address and port of each, in the resolver's order; an address is its own.

    Raises:
        OSError: there is none; TimeoutError if the resolver does not answer in time.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return _plain(_lookup(host, port, socket.AI_NUMERICHOST))
    answer: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(_lookup(host, port, 0))
        except OSError as error:
            answer.put(error)
        except UnicodeError as error:
            answer.put(OSError(f"{host[:80]!r} is no name of a host: {error}"))

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=max(deadline.left_s(), 0))
    except queue.Empty:
        raise TimeoutError("its name is not resolved in time") from None
    if isinstance(found, OSError):
        raise found
    return _plain(found)


def _lookup(host: str, port: int, flags: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


def _plain(found: list[Any]) -> list[tuple[str, int]]:
    """Return the addresses as text, with the interface of one that is local to a link."""
    plain = []
    for *_, address in found:
        scope = f"%{address[3]}" if len(address) == 4 and address[3] else ""
        plain.append((f"{address[0]}{scope}", int(address[1])))
    return list(dict.fromkeys(plain))
