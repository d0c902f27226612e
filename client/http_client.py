"""`python client/http_client.py [IMAGE|FOLDER ...]`: classify images over HTTP.

Importable too: `with HttpClient("http://127.0.0.1:18080") as client: client.classify("cat.jpg")`.
Talks to this project's service and to Paddle Serving 0.9.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

if __package__ in (None, ""):
    # Run as a script: this folder is first on the path, and the repository's root belongs there.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from client.address import DEFAULT_URL, is_loopback, prediction_url
from client.classify_client import DEFAULT_TIMEOUT_S, ClassifyClient
from client.command import Call, command_parser, run_command
from client.credentials import Credentials
from client.errors import BadAnswer, ConnectionLost, TimedOut, Unreachable
from protocol.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceNotFound,
    ServingError,
    TooLarge,
    Unauthenticated,
    UnreadableReply,
)
from protocol.key_value.reply import reply_from_json
from protocol.key_value.request import request_to_json
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 512 << 20  # 0.9's limit for a message
# What a gateway in front of the service means by answers of its own, which are no envelope.
GATEWAY_ERRORS: dict[int, type[ServingError]] = {
    401: Unauthenticated,
    404: ServiceNotFound,
    413: TooLarge,
    429: Overloaded,
    503: NotReady,
    504: DeadlineExceeded,
}


class HttpClient(ClassifyClient):
    """Client of `POST /<service>/prediction`.

    Args:
        url: `http://host:port`, or the whole address of the route.
        timeout_s: seconds for one request, retries included.
        service: the service's name, where `url` has no path.
        retries: how often a refused request is sent again.
        credentials: API key and certificates.

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
    ) -> None:
        credentials = credentials or Credentials()
        self.url = prediction_url(url, service)
        path = httpx.URL(self.url).path.strip("/").split("/")
        super().__init__(service=service or path[0], timeout_s=timeout_s, retries=retries)
        # A proxy set in the environment cannot reach this machine's own ports.
        trust_env = not is_loopback(httpx.URL(self.url).host)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        tls = httpx.URL(self.url).scheme == "https"
        if credentials.means_tls and not tls:
            raise ValueError(f"{self.url} is not TLS, so no certificate is of use; write https://")
        self._client = httpx.Client(
            trust_env=trust_env,
            limits=limits,
            headers={"Content-Type": "application/json", **credentials.headers()},
            verify=credentials.ssl_context() if tls else False,
        )

    @property
    def _where(self) -> str:
        return self.url

    def _exchange(self, request: ClassifyRequest, timeout_s: float) -> ClassifyReply:
        try:
            status, body = self._post(request_to_json(request), timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Unreachable(f"cannot reach {self.url}: {_reason(error)}") from error
        except httpx.TimeoutException as error:
            raise self._timed_out() from error
        except httpx.TransportError as error:
            raise ConnectionLost(
                f"{self.url} broke the connection: {_reason(error)}; is this its HTTP port?"
            ) from error
        except httpx.HTTPError as error:
            raise BadAnswer(f"the answer of {self.url} cannot be read: {error}") from error
        return _reply(self.url, status, body)

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return status and body; `timeout_s` bounds each wait, and the reading as a whole."""
        deadline = time.monotonic() + timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        # The service need not compute what would come too late; a gateway may hide that we went.
        headers = {"X-Request-Timeout": f"{max(timeout_s, 0.001):.3f}"}
        chunks = []
        size = 0
        with self._client.stream(
            "POST", self.url, content=body, headers=headers, timeout=timeout
        ) as answer:
            for chunk in answer.iter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if time.monotonic() > deadline:
                    raise self._timed_out()
                if size > MAX_ANSWER_BYTES:
                    raise BadAnswer(f"the answer of {self.url} is over {MAX_ANSWER_BYTES >> 20} MB")
        return answer.status_code, b"".join(chunks)

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"{self.url} did not answer within {self._timeout_s:g} s")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _reply(url: str, status: int, body: bytes) -> ClassifyReply:
    """Read the envelope whatever the status: 0.9 tells errors inside 200, we tell the truth."""
    try:
        return reply_from_json(body)
    except UnreadableReply as error:
        shown = " ".join(body[:60].decode(errors="replace").split())
        kind = GATEWAY_ERRORS.get(status, BadAnswer)
        raise kind(
            f"{url} answered HTTP {status} and no serving envelope ({shown!r}); "
            "check host, port and path"
        ) from error


def _reason(error: httpx.TransportError) -> str:
    """Return the operating system's own words if there are any, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    return str(error).lower() or type(error).__name__


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
    sys.exit(main())
