"""Requests as bytes, in each form that the service reads."""

from __future__ import annotations

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.request import request_to_json, request_to_proto
from protocol.request import ClassifyRequest, encoded

from ..images import KnownImages
from ..wire import HttpMessage
from .judge import SentRequest

JPEG = (("Content-Type", "image/jpeg"),)
_BOUNDARY = "soak-6d1f3b"


class Messages:
    """Builds messages; `not_an_image` is sent where a request has None for an image."""

    def __init__(self, images: KnownImages, not_an_image: bytes) -> None:
        self._images = images
        self._not_an_image = not_an_image

    def envelope(
        self, request: SentRequest, headers: tuple[tuple[str, str], ...] = ()
    ) -> HttpMessage:
        """Return the key/value envelope in JSON."""
        return HttpMessage(_path(request), request_to_json(self._content(request)), headers)

    def raw(self, request: SentRequest, query: str = "") -> HttpMessage:
        """Return the bytes of the only image as the body."""
        (image,) = self._content(request).images
        return HttpMessage(_path(request) + query, image.data, JPEG)

    def form(self, request: SentRequest) -> HttpMessage:
        """Return a multipart upload of all images."""
        body = b"".join(
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{n}.jpg"\r\n'
            f"Content-Type: image/jpeg\r\n\r\n".encode()
            + image.data
            + b"\r\n"
            for n, image in enumerate(self._content(request).images)
        )
        headers = (("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}"),)
        return HttpMessage(_path(request), body + f"--{_BOUNDARY}--\r\n".encode(), headers)

    def proto(self, request: SentRequest) -> pb.Request:
        """Return the message for RPC."""
        return request_to_proto(self._content(request))

    def _content(self, request: SentRequest) -> ClassifyRequest:
        images = [
            self._not_an_image if number is None else self._images.encoded[number]
            for number in request.images
        ]
        return ClassifyRequest(encoded(images), request.service)


def _path(request: SentRequest) -> str:
    return f"/{request.service}/prediction"
