"""`python -m reliability.soak.probe PORT`: asks for health ten times a second, as an engine does.

In a process of its own: whoever makes the load has moments in which it would measure itself. Prints
a line an answer, milliseconds or what was wrong, until it is terminated.
"""

from __future__ import annotations

import http.client
import sys
import time

from benchmarks.service import HOST

EVERY_S = 0.1
TIMEOUT_S = 10.0


def main(port: int) -> None:
    """Ask for ever, on one connection."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    while True:
        began = time.monotonic()
        try:
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            answer.read()
            told = f"{1e3 * (time.monotonic() - began):.2f}"
            print(told if answer.status == 200 else f"HTTP {answer.status}", flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            connection.close()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main(int(sys.argv[1]))
