"""Messages that a client has compressed: gRPC's own compression, unpacked here within bounds.

gRPC unpacks a message before its size can be checked against anything but the limit of the port,
and for callers without a key: 24 messages of 59 KB took more than a gigabyte. So the server leaves
messages as they came (`KEEP_PACKED`). A message that begins as gzip or deflate do is packed: no
message of our services can begin so (the first byte would be a field with a number or type that
none has).
"""

from __future__ import annotations

import zlib

# Options of the server. gRPC has no public name for the first one; a test holds what it does.
KEEP_PACKED = (("grpc.per_message_decompression", 0),)
_GZIP_HEAD = b"\x1f\x8b"
_DEFLATE_FIRST = 0x78  # deflate with a window of 32 KiB, as gRPC packs
_EITHER = 32 + zlib.MAX_WBITS


def packed_as(message: bytes) -> str:
    """Return "gzip", "deflate", or "" for a message that is not packed."""
    if message.startswith(_GZIP_HEAD):
        return "gzip"
    has_head = len(message) >= 2 and message[0] == _DEFLATE_FIRST
    return "deflate" if has_head and (message[0] << 8 | message[1]) % 31 == 0 else ""


def unpacked_small(message: bytes, limit: int) -> bytes:
    """Return `message`, unpacked if it is packed, to `limit` bytes at most.

    Raises:
        ValueError: it is damaged, cut off, or unpacks to more.
    """
    if not packed_as(message):
        return message
    inflater = zlib.decompressobj(_EITHER)
    try:
        unpacked = inflater.decompress(message, limit)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError(f"it is cut off, or unpacks to more than {limit} bytes")
    return unpacked
