"""Bodies of HTTP requests: bounded in size here, in time by `http_protocol`."""

from __future__ import annotations

import io

from starlette.exceptions import HTTPException
from starlette.requests import Request

from protocol.errors import TooLarge

from ..admission.inflight import Reservation
from .protocol import REFUSED

# A body over the limit is read on and thrown away up to this factor, so that the client gets to
# read the answer instead of a reset connection.
DISCARD_FACTOR = 4
# nginx's number for "the client went away"; nobody is left to read it.
CLIENT_CLOSED_REQUEST = 499


class BodyReader:
    """Reads bodies of at most `max_body_bytes`."""

    def __init__(self, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes

    async def read(self, request: Request, reserved: Reservation) -> bytes:
        """Return the whole body, whose bytes are added to `reserved`.

        Raises:
            TooLarge: it is, or says it is.
            Overloaded: the bodies of all requests together are.
            ServingError: the connection has refused it, and told the client.
            HTTPException: the client has gone.
        """
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isdigit() else 0
        # Written as it comes: to join all of a large body at its end would hold the loop up.
        whole = io.BytesIO()
        received, more = 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                refused = request.scope.get("state", {}).get(REFUSED)
                raise refused or HTTPException(CLIENT_CLOSED_REQUEST)
            chunk, more = message.get("body", b""), message.get("more_body", False)
            received += len(chunk)
            if max(received, size) <= self.max_body_bytes:
                reserved.add(len(chunk))
                whole.write(chunk)
                continue
            whole = io.BytesIO()
            if max(received, size) > DISCARD_FACTOR * self.max_body_bytes:
                break
        if max(received, size) > self.max_body_bytes:
            raise TooLarge(f"the body is over the limit of {self.max_body_bytes / 2**20:g} MiB")
        return whole.getvalue()
