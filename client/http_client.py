"""`python client/http_client.py [IMAGE|FOLDER ...]`: classify images over HTTP.

Importable too: `with HttpClient("http://127.0.0.1:18080") as client: client.classify("cat.jpg")`.
Talks to this project's service and to Paddle Serving 0.9.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import httpx

if __package__ in (None, ""):
    # Run as a script: this folder is first on the path, and the repository's root belongs there.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from client.address import DEFAULT_URL, is_loopback, names_a_service, prediction_url
from client.classify_client import DEFAULT_TIMEOUT_S, ClassifyClient
from client.command import Call, command_parser, run_command
from client.credentials import Credentials
from client.diagnosis import explanation, look_at, proxy_of, through
from client.errors import BadReply, ConnectionLost, NotListening, TimedOut, Unreachable
from client.http_body import HttpBody, envelope_body, fits_raw, raw_body
from client.http_failures import (
    CONNECT_TIMEOUT_S,
    BodyNotRead,
    is_refused,
    no_envelope,
    reason_of,
)
from protocol.console import as_command
from protocol.errors import (
    ServiceNotFound,
    ServingError,
    UnreadableReply,
)
from protocol.key_value.received import reply_from_json
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

Wire: TypeAlias = Literal["auto", "raw", "envelope"]

MAX_REPLY_BYTES = 512 << 20  # 0.9's limit for a message


class HttpClient(ClassifyClient):
    """Client of `POST /<service>/prediction`.

    Args:
        url: `http://host:port`, or the whole address of the route.
        timeout_s: seconds for one request, retries included.
        service: the service's name, where `url` has no path; `waste` if none is named, or the
            only one that there is.
        retries: how often a refused request is sent again; one to a service that starts is.
        credentials: API key and certificates.
        wire: how one image is sent. "raw": its bytes are the body, and options are in the query.
            "envelope": base64 in the key/value envelope. "auto": raw; where the server refuses to
            read that, as Paddle Serving 0.9 does, the envelope is sent instead, and from then on
            always. Several images in one request go in the envelope.

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
    ) -> None:
        credentials = credentials or Credentials()
        self.url = prediction_url(url, service)
        path = httpx.URL(self.url).path.strip("/").split("/")
        super().__init__(service=service or path[0], timeout_s=timeout_s, retries=retries)
        self._wire = wire
        self._is_named = service is not None or names_a_service(url)
        self._has_answered = False
        # A proxy set in the environment cannot reach this machine's own ports.
        trust_env = not is_loopback(httpx.URL(self.url).host)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        tls = httpx.URL(self.url).scheme == "https"
        if credentials.means_tls and not tls:
            raise ValueError(f"{self.url} is not TLS, so no certificate is of use; write https://")
        host = httpx.URL(self.url).host
        self._proxy = "" if is_loopback(host) else proxy_of(host, httpx.URL(self.url).scheme, "all")
        self._credentials = credentials
        self._client = httpx.Client(
            trust_env=trust_env,
            limits=limits,
            headers=credentials.headers(),
            verify=credentials.ssl_context() if tls else False,
        )

    @property
    def _where(self) -> str:
        return self.url

    def _exchange(self, request: ClassifyRequest, timeout_s: float) -> ClassifyReply:
        deadline = time.monotonic() + timeout_s
        url = self.url
        try:
            return self._exchange_named(request, timeout_s)
        except ServiceNotFound:
            if self._is_named:
                raise
            self._take_the_only_service(deadline - time.monotonic())
            if self.url == url:
                raise
        return self._exchange_named(request, max(deadline - time.monotonic(), 0.001))

    def _take_the_only_service(self, timeout_s: float) -> None:
        """Take the name of the service that `GET /` lists, if it lists one and no other."""
        base = httpx.URL(self.url).join("/")
        try:
            listed = self._client.get(base, timeout=max(timeout_s, 0.001)).json()
            (name,) = [str(each["service"]) for each in listed["services"]]
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return
        self.url, self.service = prediction_url(str(base), name), name

    def _exchange_named(self, request: ClassifyRequest, timeout_s: float) -> ClassifyReply:
        deadline = time.monotonic() + timeout_s
        if self._wire == "envelope" or not fits_raw(request):
            return _reply(self._send(envelope_body(request), timeout_s))
        try:
            read = self._send(raw_body(request), timeout_s)
            self._wire = "raw"
        except BodyNotRead:
            if self._wire == "raw":
                raise
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._timed_out() from None
            read = self._send(envelope_body(request), left_s)
            self._wire = "envelope"
        return _reply(read)

    def _send(self, body: HttpBody, timeout_s: float) -> ClassifyReply | ServingError:
        """Post `body`; return the reply, or the error, that the returned envelope holds.

        Raises:
            ServingError: there is no envelope; BodyNotRead if another form may be read.
        """
        status, content = self._post(body, timeout_s)
        try:
            return reply_from_json(content)
        except UnreadableReply as error:
            raise no_envelope(self.url, status, content) from error
        except ServingError as error:
            return error

    def _post(self, body: HttpBody, timeout_s: float) -> tuple[int, bytes]:
        """Return status and body of the reply; httpx's errors become the client's."""
        try:
            reply = self._stream(body, timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise self._timed_out() from error
        except httpx.TransportError as error:
            found = "" if self._has_answered else self._look()
            if found:
                raise Unreachable(f"cannot reach {self.url}: {found}") from error
            raise ConnectionLost(
                f"{self.url} broke the connection: {reason_of(error)}{through(self._proxy)}"
            ) from error
        except httpx.HTTPError as error:
            raise BadReply(f"the reply of {self.url} cannot be read: {error}") from error
        self._has_answered = True
        return reply

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        kind = NotListening if is_refused(error) and not self._proxy else Unreachable
        reason = reason_of(error)
        if isinstance(error, httpx.ConnectError) and "[ssl" in reason:
            reason = self._look() or reason
        return kind(f"cannot reach {self.url}: {reason}{through(self._proxy)}")

    def _look(self) -> str:
        """Return what is wrong with the address, or "": it is looked at only after a failure."""
        if self._proxy:
            return ""
        url = httpx.URL(self.url)
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        found = look_at(url.host, port, self._credentials.ssl_context())
        return explanation(found, "HTTP", tls=tls)

    def _stream(self, body: HttpBody, timeout_s: float) -> tuple[int, bytes]:
        """Send and receive; `timeout_s` bounds each wait, and the reading as a whole."""
        deadline = time.monotonic() + timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        headers = {
            "Content-Type": body.content_type,
            # The service need not compute a reply that comes too late. It may not see that this
            # client has gone, if a gateway is between them.
            "X-Request-Timeout": f"{max(timeout_s, 0.001):.3f}",
        }
        url = httpx.URL(self.url).copy_merge_params(body.query)
        chunks = []
        size = 0
        with self._client.stream(
            "POST", url, content=body.pieces(), headers=headers, timeout=timeout
        ) as reply:
            for chunk in reply.iter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if time.monotonic() > deadline:
                    raise self._timed_out()
                if size > MAX_REPLY_BYTES:
                    raise BadReply(f"the reply of {self.url} is over {MAX_REPLY_BYTES >> 20} MB")
        return reply.status_code, b"".join(chunks)

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"{self.url} did not answer within {self._timeout_s:g} s")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


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
