"""What service process and worker send each other: frames of a JSON header and raw bytes.

    8 + 4 bytes              little-endian lengths of what follows
    header                   a JSON object; its "kind" says what it is
    payload                  bytes, the images of a batch one after the other; often none

    service -> worker   start     classifier, settings, working folder, marks of the files
                        batch     number, images: [[bytes, topk, threshold], ...], log_ids,
                                  budgets_s: [[decode, left, died], ...] of heavy images, or []
                                  + the images
    worker -> service   ready     facts
                        failed    cause, and what callers may know of it or null
                        results   number, rows, failed: [position, ...], traceback, stages_s

A row is an image's categories, [[class_id, label, score], ...], or its error,
{"err_no": ..., "message": ...}. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from protocol.request import EncodedImage

Header: TypeAlias = Mapping[str, Any]
Row: TypeAlias = list[Any] | dict[str, Any]

_LENGTHS = struct.Struct("<QI")
LENGTHS_BYTES = _LENGTHS.size
MAX_HEADER_BYTES = 64 * 2**20


class FrameError(Exception):
    """The other side sent bytes that are no frame."""


class Frame(NamedTuple):
    """One message; `images` are those of a batch."""

    header: Header
    images: Sequence[EncodedImage] = ()


def pack(header: Header, payload_bytes: int = 0) -> bytes:
    """Return the bytes that go before a payload of `payload_bytes` bytes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTHS.pack(payload_bytes, len(text)) + text


def batch_header(
    number: int,
    images: Sequence[EncodedImage],
    log_ids: Sequence[int],
    budgets_s: Sequence[tuple[float, float, bool]] = (),
) -> Header:
    """Return the header of a batch; its payload is the data of `images`.

    `budgets_s` are, of heavy images, the seconds in which each may be decoded, those that are left
    to its request, and whether a worker died over it.
    """
    sizes = [(len(image.data), image.topk, image.threshold) for image in images]
    return {
        "kind": "batch",
        "number": number,
        "images": sizes,
        "log_ids": log_ids,
        "budgets_s": list(budgets_s),
    }


def read_frame(connection: socket.socket) -> Frame | None:
    """Wait for one frame on a blocking socket; None when the other side has closed.

    Raises:
        FrameError: the bytes are no frame, or end within one.
    """
    lengths = _read(connection, LENGTHS_BYTES)
    if lengths is None:
        return None
    payload_bytes, header_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > MAX_HEADER_BYTES:
        raise FrameError(f"a header of {header_bytes} bytes")
    header = parse_header(_read_all(connection, header_bytes))
    sizes = header.get("images", ())
    if payload_bytes != sum(size for size, _, _ in sizes):
        raise FrameError(f"a payload of {payload_bytes} bytes, not the sum of its images")
    return Frame(
        header,
        [
            EncodedImage(_read_all(connection, size), topk, threshold)
            for size, topk, threshold in sizes
        ],
    )


class FrameBuffer:
    """Collects chunks of a stream until they are frames; for frames without a payload."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Add `chunk`; yield the frames that are complete now, also those before a damaged one.

        Raises:
            FrameError: the bytes are no frame.
        """
        self._bytes += chunk
        while len(self._bytes) >= LENGTHS_BYTES:
            payload_bytes, header_bytes = _LENGTHS.unpack_from(self._bytes)
            if header_bytes > MAX_HEADER_BYTES or payload_bytes:
                raise FrameError(f"a frame of {header_bytes} and {payload_bytes} bytes")
            end = LENGTHS_BYTES + header_bytes
            if len(self._bytes) < end:
                break
            header = parse_header(bytes(self._bytes[LENGTHS_BYTES:end]))
            del self._bytes[:end]
            yield Frame(header)


def lengths_of(data: bytes) -> tuple[int, int]:
    """Return the lengths of payload and header, from the first bytes of a frame."""
    payload_bytes, header_bytes = _LENGTHS.unpack(data)
    return payload_bytes, header_bytes


def parse_header(text: bytes) -> Header:
    """Return the header that `text` holds.

    Raises:
        FrameError: it is no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a header that is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FrameError("a header that is no object")
    return header


def _read_all(connection: socket.socket, size: int) -> bytes:
    data = _read(connection, size)
    if data is None:
        raise FrameError("the connection ended within a frame")
    return data


def _read(connection: socket.socket, size: int) -> bytes | None:
    """Read exactly `size` bytes; None when the stream ended before them.

    The kernel waits for all of them, so that they lie in one object and are copied once.
    """
    data = connection.recv(size, socket.MSG_WAITALL) if size else b""
    while len(data) < size:  # a signal came in between, or the end
        more = connection.recv(size - len(data), socket.MSG_WAITALL)
        if not more:
            return None
        data += more
    return data
