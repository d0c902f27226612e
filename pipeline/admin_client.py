"""What the commands that talk to a running service's admin address have in common."""

from __future__ import annotations

import argparse
from typing import NamedTuple, TypeVar

import httpx
import msgspec

from protocol.console import print_error, within
from protocol.escaping import excerpt

from .settings.keys import DEFAULT_ADMIN_PORT

DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_ADMIN_PORT}"
NO_ADMIN_ADDRESS = 2
CONNECT_LIMIT_S = 10.0
MOST_BYTES = 4 << 20
T = TypeVar("T")


class NoReplyYet(Exception):
    """The address has not replied in full in the time it had."""


# What a request to an address that is no admin address may raise.
ERRORS = (httpx.HTTPError, httpx.InvalidURL, ValueError, NoReplyYet)


class AdminReply(NamedTuple):
    """A reply as it came."""

    status: int
    body: bytes


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add `--url` to the options of a command."""
    parser.add_argument(
        "--url", default=DEFAULT_URL, help=f"the admin address (default: {DEFAULT_URL})"
    )


def whole_url(url: str) -> str:
    """Return `url` with its scheme."""
    return url if "://" in url else f"http://{url}"


def exchange(method: str, url: str, path: str, limit_s: float | None) -> AdminReply:
    """Return the whole reply, which comes within `limit_s` (None: at some time).

    The address is private: no proxy of the environment comes between, whatever host it is on.
    `limit_s` counts for everything together: a server that drips does not outlast it.

    Raises:
        NoReplyYet: the time is over.
        ValueError: the reply is over `MOST_BYTES`, or packed.
        httpx.HTTPError, httpx.InvalidURL: there is none.
    """
    if limit_s is None:
        return _exchange(method, whole_url(url), path)
    try:
        return within(limit_s, lambda: _exchange(method, whole_url(url), path))
    except TimeoutError as error:
        raise NoReplyYet(f"no whole reply within {limit_s:g} s") from error


def _exchange(method: str, url: str, path: str) -> AdminReply:
    timeout = httpx.Timeout(None, connect=CONNECT_LIMIT_S)
    headers = {"Accept-Encoding": "identity"}
    with (
        httpx.Client(base_url=url, timeout=timeout, trust_env=False, headers=headers) as client,
        client.stream(method, path) as response,
    ):
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":
            raise ValueError(f"the reply is packed in {excerpt(packed)}; no admin address does so")
        body = bytearray()
        for piece in response.iter_raw():
            body += piece
            if len(body) > MOST_BYTES:
                raise ValueError(f"the reply is over {MOST_BYTES} bytes; no admin address does so")
    return AdminReply(response.status_code, bytes(body))


def read_reply(reply: AdminReply, kind: type[T]) -> T:
    """Return the JSON object of the reply, of a type of `admin_reply`.

    Raises:
        ValueError: it is another reply.
    """
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(
            f"HTTP {reply.status}; this is not an admin address: {excerpt(reply.body)} ({error})"
        ) from error


def indented(reply: AdminReply) -> str:
    """Return the JSON of a reply, which `read_reply` has read, for people."""
    return msgspec.json.format(reply.body, indent=2).decode()


def report_unreachable(what: str, url: str, error: Exception) -> int:
    """Print why there is no `what` from `url`; return the exit code."""
    cause = str(error) or type(error).__name__
    print_error(
        f"no {what} from {whole_url(url)}: {cause}; is the service running? It prints its "
        "admin address when it is ready; give that address with --url"
    )
    return NO_ADMIN_ADDRESS
