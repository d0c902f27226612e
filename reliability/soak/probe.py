"""`python -m reliability.soak.probe PORT`: requests health ten times a second, as an engine does.

It is a process of its own, because the process that makes the load would measure its own delays.
For each reply it prints a line, milliseconds or the fault, until it is terminated.
"""

from __future__ import annotations

import http.client
import sys
import time

from benchmarks.service import HOST

EVERY_S = 0.1
TIMEOUT_S = 10.0


def main(port: int) -> None:
    """Send requests on one connection until terminated."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    while True:
        began = time.monotonic()
        try:
            connection.request("GET", "/health/live")
            reply = connection.getresponse()
            reply.read()
            taken_ms = f"{1e3 * (time.monotonic() - began):.2f}"
            print(taken_ms if reply.status == 200 else f"HTTP {reply.status}", flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            connection.close()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main(int(sys.argv[1]))
