"""The body of one HTTP request: the bytes of one image as they are, or the key/value envelope.

The raw form needs neither base64 nor JSON, and our service adds all categories (`topk`) to its
reply. Paddle Serving 0.9 reads the envelope only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from protocol.key_value.request import request_to_json
from protocol.request import ClassifyRequest

PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpBody:
    """What is posted: the bytes, their Content-Type, and the options that go into the query."""

    content: bytes = field(repr=False)
    content_type: str
    query: dict[str, str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, 64 KiB at a time: each is one `send`, and over TLS a few records."""
        for start in range(0, len(self.content), PIECE_BYTES):
            yield self.content[start : start + PIECE_BYTES]


def fits_raw(request: ClassifyRequest) -> bool:
    """Return whether the raw form can carry `request`: one image, which is not empty."""
    return len(request.images) == 1 and len(request.images[0].data) > 0


def raw_body(request: ClassifyRequest) -> HttpBody:
    """Return the only image of `request`, which `fits_raw`; its options go into the query."""
    (image,) = request.images
    options = {"topk": image.topk, "threshold": image.threshold}
    query = {name: str(value) for name, value in options.items() if value is not None}
    if request.log_id:
        query["log_id"] = str(request.log_id)
    return HttpBody(image.data, "application/octet-stream", query)


def envelope_body(request: ClassifyRequest) -> HttpBody:
    """Return the key/value envelope, which carries any number of images and every option."""
    return HttpBody(request_to_json(request), "application/json")
