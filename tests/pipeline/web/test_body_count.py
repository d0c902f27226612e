"""What the framing of a body may cost."""

from __future__ import annotations

import pytest

from pipeline.web.body_count import FREE_CHUNKS, FREE_FRAMING_BYTES, BodyCount


def taken(chunk_bytes: int, framing_bytes: int, most: int) -> int:
    """How many chunks of a body are taken, up to `most`."""
    count = BodyCount()
    for number in range(most):
        if not count.add_chunk(framing_bytes):
            return number
        count.bytes += chunk_bytes
    return most


@pytest.mark.parametrize("chunk_bytes", [256, 4096, 65536])
def test_chunks_of_ordinary_clients_are_taken(chunk_bytes: int) -> None:
    assert taken(chunk_bytes, 6, 10 * FREE_CHUNKS) == 10 * FREE_CHUNKS


@pytest.mark.parametrize("chunk_bytes", [1, 16, 100])
def test_tiny_chunks_have_a_limit(chunk_bytes: int) -> None:
    assert FREE_CHUNKS <= taken(chunk_bytes, 3, 10 * FREE_CHUNKS) <= 2 * FREE_CHUNKS


def test_long_extensions_have_a_limit() -> None:
    """A signature at each chunk, as some clients of object stores write it, is no long one."""
    assert taken(65536, 90, FREE_CHUNKS) == FREE_CHUNKS
    assert taken(1, 16_384, FREE_CHUNKS) <= FREE_FRAMING_BYTES // 16_384 + 1
