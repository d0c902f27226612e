"""What the commands that talk to a running service's admin address have in common."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TypeAlias

import httpx

from .settings.keys import DEFAULT_ADMIN_PORT

DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_ADMIN_PORT}"
NO_ADMIN_ADDRESS = 2
CONNECT_LIMIT_S = 10.0

# The only module that talks to a service; the others know these names.
AdminClient: TypeAlias = httpx.Client
NoReplyYet: TypeAlias = httpx.ReadTimeout
# What a request to an address that is no admin address may raise.
ERRORS = (httpx.HTTPError, httpx.InvalidURL, ValueError)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add `--url` to the options of a command."""
    parser.add_argument(
        "--url", default=DEFAULT_URL, help=f"the admin address (default: {DEFAULT_URL})"
    )


def whole_url(url: str) -> str:
    """Return `url` with its scheme."""
    return url if "://" in url else f"http://{url}"


def admin_client(url: str, read_limit_s: float | None) -> AdminClient:
    """Return a client of the address, which replies within `read_limit_s` (None: at some time).

    The address is private: no proxy of the environment comes between, whatever host it is on.
    """
    timeout = httpx.Timeout(read_limit_s, connect=CONNECT_LIMIT_S)
    return httpx.Client(base_url=whole_url(url), timeout=timeout, trust_env=False)


def read_object(response: httpx.Response, key: str) -> dict[str, Any]:
    """Return the JSON object of the reply, which has `key`.

    Raises:
        ValueError: it is another reply.
    """
    try:
        fields = response.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or key not in fields:
        raise ValueError(f"HTTP {response.status_code}; this is not an admin address")
    return fields


def report_unreachable(what: str, url: str, error: Exception) -> int:
    """Print why there is no `what` from `url`; return the exit code."""
    cause = str(error) or type(error).__name__
    print(
        f"error: no {what} from {whole_url(url)}: {cause}; is the service running? It prints its "
        "admin address when it is ready; give that address with --url",
        file=sys.stderr,
    )
    return NO_ADMIN_ADDRESS
