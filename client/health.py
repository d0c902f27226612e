"""`python -m client.health [URL] [--wait S]`: exit 0 once the service is ready, 1 if it is not.

For container health checks and scripts; needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import IO
from urllib.parse import urlsplit

from client.address import is_loopback
from protocol.console import as_command, within
from protocol.escaping import escaped, excerpt

DEFAULT_URL = "http://127.0.0.1:18080/health/ready"
TIMEOUT_S = 4.0
MOST_BYTES = 64 * 1024
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
    """Return whether `url` answers 200, and the body; `context` has the trusted authorities.

    It takes `TIMEOUT_S` at most, whatever the server does, and reads `MOST_BYTES` of the body.
    """
    try:
        return within(TIMEOUT_S, functools.partial(_check, url, context))
    except TimeoutError:
        return False, f"cannot reach {url}: no whole reply within {TIMEOUT_S:g} s"


def _check(url: str, context: ssl.SSLContext | None) -> tuple[bool, str]:
    try:
        with _opener(url, context).open(url, timeout=TIMEOUT_S) as reply:
            return _read(url, reply)
    except urllib.error.HTTPError as error:
        with error:
            return False, _read(url, error)[1]
    # ValueError: the address has letters that none has. LookupError: the server names a charset or
    # an authentication that there is none of.
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        return False, f"cannot reach {url}: {excerpt(str(error))[1:-1]}"


def _read(url: str, reply: IO[bytes]) -> tuple[bool, str]:
    body = reply.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        return False, f"{url} is no health address: its reply is over {MOST_BYTES} bytes"
    return True, escaped(body.decode(errors="replace"))


def _opener(url: str, context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Return what opens `url`: on this machine directly, elsewhere by the environment's proxy."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


if __name__ == "__main__":
    sys.exit(as_command(main))
