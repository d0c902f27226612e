"""What a wire is to the service: a codec, which is pure. See `pipeline.admission.desk`.

    bytes of a request, hints  ->  ClassifyRequest, or InvalidRequest
    ClassifyReply              ->  bytes
    any error                  ->  bytes

A codec knows no transport: content type and status of a reply are the binding's, from the table in
`protocol.errors`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from .reply import ClassifyReply
from .request import ClassifyRequest

MOST_PARTS = 10_000
_FREE_PARTS = 1000
_PARTS_AN_IMAGE = 16


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a request besides its body.

    Attributes:
        service: the name of the service, which exists.
        content_type: as the header of that name has it; "" where there is none.
        options: what stands in the address, as text by name (`topk`, `threshold`, `logid`, `form`);
            options in the body take precedence.
        max_images: how many images a request may have.
        quick: whether `read` must end within a millisecond, or raise NotQuick.
    """

    service: str = ""
    content_type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    max_images: int = sys.maxsize
    quick: bool = False

    @property
    def most_parts(self) -> int:
        """How many values a body may have, and how many fields a message.

        Two bytes of a body can be a hundred in memory, and a microsecond. A request for images has
        few parts: a key and a value for each image, or a tensor of some fields.
        """
        return min(MOST_PARTS, _FREE_PARTS + _PARTS_AN_IMAGE * self.max_images)

    def quickly(self) -> Hints:
        """Return these hints, and that `read` must be quick."""
        # `dataclasses.replace` takes three times as long, for each request.
        return Hints(self.service, self.content_type, self.options, self.max_images, quick=True)


class NotQuick(Exception):
    """A body takes more than a millisecond to read: it is read again in a thread."""


class Codec(ABC):
    """Reads the requests and writes the replies of one wire; keeps nothing between two calls."""

    def service_in(self, _body: bytes, _hints: Hints) -> str:
        """Return the service that a body names, for transports whose address does not.

        Called before `read`: a body for an unknown service is never parsed. What must hold before a
        body is parsed is checked here.

        Raises:
            InvalidRequest: the body is no request of this wire.
            NotQuick: the hints say that it must be quick, and it cannot be.
        """
        return ""

    def extra_bytes(self, _body: bytes) -> int:
        """Return how much more memory `read` may take than usual, in bytes, for such a body."""
        return 0

    @abstractmethod
    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Return the request that `body` makes.

        Raises:
            InvalidRequest: the text says what is wrong and how it should be.
            NotQuick: the hints say that it must be quick, and it cannot be.
        """

    @abstractmethod
    def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
        """Return the reply to `request`."""

    @abstractmethod
    def error(self, error: BaseException) -> bytes:
        """Return the reply to a request that failed as a whole."""
