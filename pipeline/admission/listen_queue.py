"""The listen queue of a port: connections that the kernel has made, and nobody has accepted yet.

To their clients they are open. When the port closes they are reset, and what was sent on them is
lost: a proxy sends such a request again only if it may be computed twice. So the queue is emptied
before the port closes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

# A bound for a server that accepts nothing more, and how often the queue is looked at.
_WAIT_S, _LOOK_EVERY_S = 2.0, 0.002
# tcpi_unacked in struct tcp_info (linux/tcp.h): of a socket that listens, the length of its queue.
_LENGTH = slice(24, 28)


async def accepted(listening: socket.socket) -> None:
    """Wait until the server of `listening` has accepted what waits in the queue.

    The queue is cut to one place first, so that it ends: the kernel drops the next attempts to
    connect, and clients repeat them after a second.
    """
    listening.listen(0)
    ends = time.monotonic() + _WAIT_S
    # Nothing reports its end.
    while queue_length(listening) and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY_S)


def queue_length(listening: socket.socket) -> int:
    """Return how many connections wait to be accepted."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH.stop)
    return int.from_bytes(info[_LENGTH], sys.byteorder)
