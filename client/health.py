"""`python -m client.health [URL] [--wait S]`: exit 0 once the service is ready, 1 if it is not.

For container health checks and scripts; needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from protocol.console import as_command

DEFAULT_URL = "http://127.0.0.1:18080/health/ready"
TIMEOUT_S = 4.0
PAUSE_S = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Poll until the service is ready or `--wait` seconds are over; print the last reply."""
    parser = argparse.ArgumentParser(prog="client.health", description=__doc__)
    parser.add_argument("url", nargs="?", default=DEFAULT_URL, help=f"default: {DEFAULT_URL}")
    parser.add_argument("--ca", help="trust the certificates in this file (PEM)")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait (default: 0)")
    options = parser.parse_args(arguments)
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"{options.url} is not an http address")
    context = ssl.create_default_context(cafile=options.ca) if options.ca else None
    deadline = time.monotonic() + options.wait
    while True:
        ready, reply = check(options.url, context)
        if ready or time.monotonic() >= deadline:
            print(reply, file=sys.stdout if ready else sys.stderr)
            return 0 if ready else 1
        time.sleep(PAUSE_S)


def check(url: str, context: ssl.SSLContext | None = None) -> tuple[bool, str]:
    """Return whether `url` answers 200, and the body; `context` has the trusted authorities."""
    try:
        opened = urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context)  # noqa: S310 - checked above
        with opened as reply:
            return True, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return False, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:  # ValueError: the address has letters that none has
        return False, f"cannot reach {url}: {error}"


if __name__ == "__main__":
    sys.exit(as_command(main))
