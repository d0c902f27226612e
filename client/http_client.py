"""`python client/http_client.py [IMAGE|FOLDER ...]`: classify images over HTTP.

Importable too: `with HttpClient("http://127.0.0.1:18080") as client: client.classify("cat.jpg")`.
Talks to this project's service and to Paddle Serving 0.9.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import httpcore
import httpx
import msgspec

if __package__ in (None, ""):
    # Run as a script: this folder is first on the path, and the repository's root belongs there.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from client.address import DEFAULT_URL, is_loopback, names_a_service, prediction_url
from client.classify_client import (
    DEFAULT_MAX_REPLY_BYTES,
    DEFAULT_TIMEOUT_S,
    ClassifyClient,
)
from client.command import Call, command_parser, run_command
from client.credentials import Credentials
from client.deadline import Deadline
from client.diagnosis import explanation, look_at, proxy_address_of, proxy_of, through
from client.errors import BadReply, ConnectionLost, NotListening, TimedOut, Unreachable
from client.http_body import HttpBody, envelope_body, fits_raw, raw_body
from client.http_exchange import HttpExchange, HttpReply, MalformedReplyError
from client.http_failures import BodyNotRead, is_refused, no_envelope, reason_of
from protocol.console import as_command
from protocol.errors import OK, ServiceNotFound, ServingError, UnreadableReply
from protocol.key_value.received import reply_from_json
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

Wire: TypeAlias = Literal["auto", "raw", "envelope"]

LONGEST_NAME = 200  # characters of a service's name


class _Listed(msgspec.Struct):
    service: str


class _Listing(msgspec.Struct):
    """What `GET /` says of the services; the rest is skipped."""

    services: tuple[_Listed, ...]


_listing = msgspec.json.Decoder(_Listing)


class HttpClient(ClassifyClient):
    """Client of `POST /<service>/prediction`.

    Args:
        url: `http://host:port`, or the whole address of the route.
        timeout_s: seconds for one request: looking up the name, connecting, sending, the reply, and
            retries, all together.
        service: the service's name, where `url` has no path; `waste` if none is named, or the
            only one that there is.
        retries: how often a refused request is sent again; one to a service that starts is.
        credentials: API key and certificates.
        wire: how one image is sent. "raw": its bytes are the body, and options are in the query.
            "envelope": base64 in the key/value envelope. "auto": raw; where the server refuses to
            read that, as Paddle Serving 0.9 does, the envelope is sent instead, and from then on
            always. Several images in one request go in the envelope.
        max_reply_bytes: bytes of a reply, unpacked; a larger one is a BadReply.

    Raises:
        ValueError: `url` is no HTTP address, or a file of the credentials cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        service: str | None = None,
        retries: int = 0,
        credentials: Credentials | None = None,
        wire: Wire = "auto",
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
    ) -> None:
        credentials = credentials or Credentials()
        self.url = prediction_url(url, service)
        address = httpx.URL(self.url)
        super().__init__(
            service=service or address.path.strip("/").split("/")[0],
            timeout_s=timeout_s,
            retries=retries,
            max_reply_bytes=max_reply_bytes,
        )
        self._wire = wire
        self._is_named = service is not None or names_a_service(url)
        self._has_answered = False
        tls = address.scheme == "https"
        if credentials.means_tls and not tls:
            raise ValueError(f"{self.url} is not TLS, so no certificate is of use; write https://")
        # A proxy set in the environment cannot reach this machine's own ports.
        names = () if is_loopback(address.host) else (address.scheme, "all")
        port = address.port or (443 if tls else 80)
        self._proxy = proxy_of(address.host, *names, port=port)
        self._credentials = credentials
        self._http = HttpExchange(
            address,
            headers=credentials.headers(),
            proxy=proxy_address_of(address.host, *names, port=port),
            ssl_context=credentials.ssl_context() if tls else None,
            most_reply_bytes=max_reply_bytes,
        )

    @property
    def _where(self) -> str:
        return self.url

    def _exchange(self, request: ClassifyRequest, deadline: Deadline) -> ClassifyReply:
        url = self.url
        try:
            return self._exchange_named(request, deadline)
        except ServiceNotFound:
            if self._is_named:
                raise
            self._take_the_only_service(deadline)
            if self.url == url:
                raise
        return self._exchange_named(request, deadline)

    def _take_the_only_service(self, deadline: Deadline) -> None:
        """Take the name of the service that `GET /` lists, if it lists one and no other."""
        base = httpx.URL(self.url).join("/")
        try:
            services = _listing.decode(self._get("GET", base, deadline).body).services
        except (ServingError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return
        name = services[0].service if len(services) == 1 else ""
        # A name goes into the address, so it must be no more than one part of a path.
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or set(name) & set("/?#%\\"):
            return
        self.url, self.service = prediction_url(str(base), name), name

    def _exchange_named(self, request: ClassifyRequest, deadline: Deadline) -> ClassifyReply:
        if self._wire == "envelope" or not fits_raw(request):
            return _reply(self._send(envelope_body(request), deadline))
        try:
            read = self._send(raw_body(request), deadline)
            self._wire = "raw"
        except BodyNotRead:
            if self._wire == "raw":
                raise
            if deadline.left_s() <= 0:
                raise self._timed_out() from None
            read = self._send(envelope_body(request), deadline)
            self._wire = "envelope"
        return _reply(read)

    def _send(self, body: HttpBody, deadline: Deadline) -> ClassifyReply | ServingError:
        """Post `body`; return the reply, or the error, that the returned envelope holds.

        Raises:
            ServingError: there is no envelope; BodyNotRead if another form may be read.
        """
        reply = self._post(body, deadline)
        try:
            return reply_from_json(reply.body)
        except UnreadableReply as error:
            if reply.status == OK.http_status:
                raise BadReply(
                    f"{self.url} answered HTTP {reply.status}, but {error}; "
                    "check host, port and path"
                ) from error
            raise no_envelope(self.url, reply) from error
        except ServingError as error:
            return error

    def _post(self, body: HttpBody, deadline: Deadline) -> HttpReply:
        headers = {
            "Content-Type": body.content_type,
            # The service need not compute a reply that comes too late. It may not see that this
            # client has gone, if a gateway is between them.
            "X-Request-Timeout": f"{max(deadline.left_s(), 0.001):.3f}",
        }
        url = httpx.URL(self.url).copy_merge_params(body.query)
        return self._get("POST", url, deadline, body, headers)

    def _get(
        self,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        body: HttpBody | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Return the reply to one request; httpcore's errors become the client's."""
        content, length = (body.pieces(), len(body.content)) if body else (None, 0)
        try:
            reply = self._http.run(
                method, url, deadline, headers=headers, content=content, length=length
            )
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError) as error:
            raise self._unreachable(error, deadline) from error
        except httpcore.TimeoutException as error:
            raise self._timed_out() from error
        except (MalformedReplyError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise self._broken(error, deadline) from error
        self._has_answered = True
        return reply

    def _unreachable(self, error: Exception, deadline: Deadline) -> Unreachable:
        kind = NotListening if is_refused(error) and not self._proxy else Unreachable
        reason = reason_of(error)
        if isinstance(error, httpcore.ConnectError) and "[ssl" in reason:
            reason = self._look(deadline) or reason
        return kind(f"cannot reach {self.url}: {reason}{through(self._proxy)}")

    def _broken(self, error: Exception, deadline: Deadline) -> ServingError:
        found = "" if self._has_answered else self._look(deadline)
        if found:
            return Unreachable(f"cannot reach {self.url}: {found}")
        if isinstance(error, MalformedReplyError):
            return BadReply(
                f"the reply of {self.url} is not used: {error}; check that a serving service "
                f"listens there{through(self._proxy)}"
            )
        return ConnectionLost(
            f"{self.url} broke the connection: {reason_of(error)}{through(self._proxy)}"
        )

    def _look(self, deadline: Deadline) -> str:
        """Return what is wrong with the address, or "": it is looked at only after a failure."""
        if self._proxy:
            return ""
        url = httpx.URL(self.url)
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        found = look_at(url.host, port, self._credentials.ssl_context(), deadline)
        return explanation(found, "HTTP", tls=tls)

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"{self.url} did not answer within {self._timeout_s:g} s")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _reply(read: ClassifyReply | ServingError) -> ClassifyReply:
    if isinstance(read, ServingError):
        raise read
    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify the images that the command line names; return the exit code."""
    parser = command_parser("client/http_client.py", "Classify images over HTTP.")
    parser.add_argument(
        "--url",
        default=DEFAULT_URL,
        help=f"http://HOST:PORT, or the whole address of the route (default: {DEFAULT_URL})",
    )

    def connect(call: Call) -> HttpClient:
        return HttpClient(
            call.options.url,
            timeout_s=call.timeout_s,
            service=call.service,
            retries=call.retries,
            credentials=call.credentials,
        )

    return run_command(parser, connect, arguments)


if __name__ == "__main__":
    sys.exit(as_command(main))
