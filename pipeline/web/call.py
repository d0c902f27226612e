"""One request over HTTP, as the desk takes it.

Its body is bounded in size here, in time by the connection (`web.protocol`) and by the caller's own
deadline.
"""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Mapping

from starlette.requests import Request

from protocol.errors import InvalidRequest, TooLarge

from ..admission.call import CallerLeft
from ..admission.content_encoding import encoding_of, unpacked
from ..admission.deadline import TIMEOUT_HEADER, Deadline
from ..admission.inflight import Reservation
from ..admission.offload import Lane
from .protocol import BEGAN, REFUSED

# Starlette takes half a microsecond for each parameter of an address, on the event loop.
_MOST_PARAMETERS = 100
_LONGEST_QUERY = 4096


class HttpCall:
    """A POST whose body is at most `max_body_bytes`; see `admission.call.Call`."""

    wire = "http"
    from_browsers = True

    def __init__(self, request: Request, service: str | None, max_body_bytes: int) -> None:
        """Take `request`; `service` is the one that its address names, None where it names none."""
        self.service = service
        self.client = client_of(request)
        self.began: float = request.scope.get("state", {}).get(BEGAN, time.monotonic())
        self.headers: Mapping[str, str] = request.headers
        self.content_type = request.headers.get("content-type", "")
        self._request = request
        self._limit = max_body_bytes

    @property
    def options(self) -> Mapping[str, str]:
        """The parameters of the address.

        Raises:
            InvalidRequest: there are more than the options could be.
        """
        query = self._request.scope["query_string"]
        if len(query) > _LONGEST_QUERY or query.count(b"&") >= _MOST_PARAMETERS:
            raise InvalidRequest(
                f"the address has more than {_MOST_PARAMETERS} parameters, or {_LONGEST_QUERY} "
                "bytes of them; leave out those that are no options"
            )
        return self._request.query_params

    def deadline(self) -> Deadline:
        """Read the header X-Request-Timeout: seconds from the first byte of the request."""
        return Deadline.from_header(self.headers.get(TIMEOUT_HEADER), self.began)

    async def receive(self, deadline: Deadline, lane: Lane) -> bytes:
        """Return the whole body, unpacked where its Content-Encoding says that it is packed.

        Raises:
            TooLarge: it is, or its Content-Length is.
            UnsupportedEncoding, InvalidRequest: it is packed in a way that is not read, or badly.
            DeadlineExceeded, Overloaded: as `Call.receive`.
            ServingError: the connection has refused it, and has sent the client this error.
            CallerLeft: the client has closed the connection.
        """
        encoding = encoding_of(self._request.headers.getlist("content-encoding"))
        return await deadline.within(self._received(encoding, lane), "to arrive")

    def departure(self) -> Awaitable[object]:
        """Wait for the next message: after the body it can only be the disconnect."""
        return self._request.receive()

    async def _received(self, encoding: str, lane: Lane) -> bytes:
        body = await self._receive(lane.reservation)
        if not encoding:
            return body
        return await unpacked(body, encoding, self._limit, lane)

    async def _receive(self, reservation: Reservation) -> bytes:
        declared = self.headers.get("content-length", "")
        size = int(declared) if declared.isdigit() else 0
        if size > self._limit:
            raise self._too_large()
        chunk, more = await self._chunk()
        if not more and len(chunk) <= self._limit:
            reservation.add(len(chunk))
            return chunk  # most bodies: nothing is copied
        # Written as they come: joining all of a large body at its end would block the loop.
        whole = io.BytesIO()
        received = 0
        while True:
            received += len(chunk)
            if received > self._limit:
                raise self._too_large()
            reservation.add(len(chunk))
            whole.write(chunk)
            if not more:
                return whole.getvalue()  # no copy: BytesIO hands over its own bytes
            chunk, more = await self._chunk()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over the limit of {self._limit / 2**20:g} MiB")

    async def _chunk(self) -> tuple[bytes, bool]:
        """Return the next piece of the body, and whether more follow."""
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise self._request.scope.get("state", {}).get(REFUSED) or CallerLeft
        return message.get("body", b""), message.get("more_body", False)


def client_of(request: Request) -> str:
    """Return the address of the client; "?" where the server does not know it."""
    return request.client.host if request.client is not None else "?"
