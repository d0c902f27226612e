"""HTTP requests to one server, each within one deadline and one bound of what its reply may be."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import httpcore
import httpx

from client.deadline import Deadline
from client.network import Exchange, Network, OverBoundError
from client.unpacking import ACCEPTED, UnpackingError, unpacked
from protocol.escaping import excerpt

MOST_HEADERS = 100
# What framing may add to a body: of small pieces, six bytes each.
_FRAMING_BYTES = 1 << 20
_USER_AGENT = "paddle-serving-kit"


class HttpReply(NamedTuple):
    """A reply, read to its end: `location` is where a redirection leads, "" without one."""

    status: int
    location: str
    body: bytes


class MalformedReplyError(Exception):
    """What the server sent is no reply, or more than it may send; the text says what."""


class HttpExchange:
    """Connections to the server of `url`, which stay open; safe to use from several threads.

    Args:
        url: any address of the server.
        headers: sent with each request.
        proxy: the address of a proxy, "" for none; name and password may be in it.
        ssl_context: what is trusted, for https.
        most_reply_bytes: of a reply, unpacked.

    Raises:
        ValueError: the proxy is of a kind that is not supported.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        headers: Mapping[str, str],
        proxy: str,
        ssl_context: ssl.SSLContext | None,
        most_reply_bytes: int,
    ) -> None:
        self._headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": ACCEPTED, **headers}
        self._host = url.netloc.decode("ascii")
        if url.userinfo and "authorization" not in headers:
            pair = f"{url.username}:{url.password}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._most_reply_bytes = most_reply_bytes
        self._network = Network()
        self._pool = _pool(proxy, ssl_context, self._network)
        self._is_closed = False

    def run(
        self,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        headers: Mapping[str, str] | None = None,
        content: Iterable[bytes] | None = None,
        length: int = 0,
    ) -> HttpReply:
        """Send one request and read its reply; redirections are not followed.

        Raises:
            MalformedReplyError: the reply is none, or over a bound.
            httpcore.TimeoutException: the deadline passed.
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError: it failed.
        """
        if self._is_closed:
            raise RuntimeError("the client is closed")
        every = {"Host": self._host, **self._headers, **(headers or {})}
        body = None if content is None else iter(content)
        if body is not None:
            every["Content-Length"] = str(length)
        exchange = Exchange(deadline)
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        try:
            with (
                self._network.within(exchange),
                self._pool.stream(
                    method, target, headers=list(every.items()), content=body
                ) as response,
            ):
                return self._read(response, exchange)
        except OverBoundError as error:
            raise MalformedReplyError(
                f"{error}; it begins with {excerpt(exchange.start)}"
            ) from error
        except httpcore.RemoteProtocolError as error:
            if exchange.closed or not exchange.start:
                raise
            raise MalformedReplyError(
                f"it is no HTTP ({excerpt(str(error))}); it begins with {excerpt(exchange.start)}"
            ) from error

    def _read(self, response: httpcore.Response, exchange: Exchange) -> HttpReply:
        if len(response.headers) > MOST_HEADERS:
            raise MalformedReplyError(f"it has {len(response.headers)} headers")
        exchange.allow_body(2 * self._most_reply_bytes + _FRAMING_BYTES)
        values: dict[bytes, list[str]] = {}
        for name, value in response.headers:
            values.setdefault(name.lower(), []).append(value.decode("latin-1"))
        encodings = [
            part.strip().lower()
            for value in values.get(b"content-encoding", ())
            for part in value.split(",")
            if part.strip()
        ]
        try:
            body = unpacked(response.iter_stream(), encodings, self._most_reply_bytes)
        except UnpackingError as error:
            packed = f"; Content-Encoding: {excerpt(', '.join(encodings))}" if encodings else ""
            raise MalformedReplyError(f"its body {error}{packed}") from error
        location = (values.get(b"location") or [""])[0]
        return HttpReply(response.status, location, body)

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        self._pool.close()


def _pool(
    proxy: str, ssl_context: ssl.SSLContext | None, network: Network
) -> httpcore.ConnectionPool:
    options: dict[str, Any] = {
        "ssl_context": ssl_context,
        "network_backend": network,
        "max_connections": None,
        "max_keepalive_connections": 64,
        "keepalive_expiry": 5.0,
    }
    if not proxy:
        return httpcore.ConnectionPool(**options)
    read = httpx.Proxy(proxy)
    options["proxy_auth"] = read.raw_auth
    target = httpcore.URL(
        scheme=read.url.raw_scheme,
        host=read.url.raw_host,
        port=read.url.port,
        target=read.url.raw_path,
    )
    if read.url.scheme in ("http", "https"):
        return httpcore.HTTPProxy(target, **options)
    try:
        return httpcore.SOCKSProxy(target, **options)
    except (ImportError, RuntimeError):
        raise ValueError(
            f"the environment's proxy is of the kind {read.url.scheme}, for which Python needs the "
            "package socksio; install it, or name the host in no_proxy"
        ) from None
