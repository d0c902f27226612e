"""Frames of HTTP/2 and messages of gRPC, written by hand: no library sends what an attack sends."""

from __future__ import annotations

import struct
import zlib

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(
        ">I", stream
    ) + payload  # fmt: skip


def string(text: bytes) -> bytes:
    """Return an HPACK string without Huffman code."""
    return integer(len(text), 7) + text


def integer(number: int, bits: int, first: int = 0) -> bytes:
    """Return an HPACK integer behind the bits `first`."""
    most = 2**bits - 1
    if number < most:
        return bytes([first | number])
    rest, number = bytearray([first | most]), number - most
    while number >= 128:
        rest.append(number % 128 | 128)
        number //= 128
    rest.append(number)
    return bytes(rest)


def literal(name: str, value: bytes, *, indexed: bool = False) -> bytes:
    """Return a header field, which enters the dynamic table if `indexed`."""
    return (b"\x40" if indexed else b"\x00") + string(name.encode()) + string(value)


def opening(window: int = 2**31 - 1) -> bytes:
    """Return the preface, settings with a window for streams, and one for the connection."""
    settings = struct.pack(">HI", 4, window)
    grown = struct.pack(">I", max(1, window - 65535))
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grown)


def call_head(path: str, *more: bytes, key: str = "", coding: str = "") -> bytes:
    """Return the header block of a gRPC call."""
    block = literal(":method", b"POST") + literal(":scheme", b"http")
    block += literal(":path", path.encode()) + literal(":authority", b"attack")
    block += literal("te", b"trailers") + literal("content-type", b"application/grpc")
    if coding:
        block += literal("grpc-encoding", coding.encode())
    if key:
        block += literal("authorization", f"Bearer {key}".encode())
    return block + b"".join(more)


def call(stream: int, block: bytes, message: bytes, *, compressed: bool = False) -> bytes:
    """Return the frames of a whole call with one message, in pieces of 16 KB."""
    body = struct.pack(">BI", compressed, len(message)) + message
    frames = frame(HEADERS, END_HEADERS, stream, block)
    pieces = [body[start : start + 16_000] for start in range(0, len(body), 16_000)]
    for number, piece in enumerate(pieces):
        frames += frame(DATA, END_STREAM if number == len(pieces) - 1 else 0, stream, piece)
    return frames


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field of bytes."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def packed_field(number: int, megabytes: int) -> bytes:
    """Return a field of many letters, in gzip: a thousandth of its size."""
    deflate = zlib.compressobj(9, wbits=31)
    size = megabytes * 2**20
    packed = deflate.compress(bytes([number << 3 | 2]) + _varint(size))
    for _ in range(megabytes):
        packed += deflate.compress(b"a" * 2**20)
    return packed + deflate.flush()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number % 128 | 128)
        number //= 128
    out.append(number)
    return bytes(out)
