"""What has come of a body, and what its framing may cost.

A chunk costs microseconds, however little is in it: a body of 64 MB in chunks of a byte would take
minutes of the event loop.
"""

from __future__ import annotations

# So many chunks may be small. Beyond them a chunk has this many bytes, on average.
FREE_CHUNKS = 10_000
BYTES_A_CHUNK = 256
# Of sizes and extensions of chunks, beyond as many bytes as the body has.
FREE_FRAMING_BYTES = 256 * 1024


class BodyCount:
    """Counts one body.

    Attributes:
        bytes: how many have come, without framing.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._chunks = 0
        self._framing_bytes = 0

    def add_chunk(self, framing_bytes: int) -> bool:
        """Count a chunk whose head has so many bytes; False: it is one too many."""
        self._chunks += 1
        self._framing_bytes += framing_bytes
        return (
            self._chunks <= FREE_CHUNKS + self.bytes // BYTES_A_CHUNK
            and self._framing_bytes <= FREE_FRAMING_BYTES + self.bytes
        )


def out_of_proportion() -> str:
    """Return what is wrong where `add_chunk` returns False, and what to do."""
    return (
        f"the body comes in over {FREE_CHUNKS} chunks of less than {BYTES_A_CHUNK} bytes, or with "
        "long extensions; send larger chunks, or its Content-Length"
    )
