"""The segments of a JPEG before its pixels (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from typing import Iterator, Tuple

SCAN = 0xDA
END = 0xD9

# Any number of fill bytes, then what the marker means.
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)
# Real files have a few hundred; one made of nothing else must not keep a worker busy for seconds.
_MAX_SEGMENTS = 10_000


def segments(data: bytes) -> Iterator[Tuple[int, int]]:
    """Yield each marker with the position after it, up to and with the first scan of pixels."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.match(data, position)
        if match is None:
            return
        marker, position = match.group(1)[0], match.end()
        yield marker, position
        if marker in (END, SCAN):
            return
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:  # all others have a length
            if position + 2 > len(data):
                return
            position += int(struct.unpack_from(">H", data, position)[0])


def is_frame(marker: int) -> bool:
    """Return whether the segment holds the size: SOF0 to SOF15, but DHT, JPG and DAC."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
