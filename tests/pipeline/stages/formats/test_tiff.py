"""TIFFs whose strips and tiles cost more than their pixels, or hide a size."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from pipeline.stages.decode import decode_image
from protocol.errors import TooLarge, UndecodableImage

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))
import image_bombs as bombs


def tiff(*sizes: tuple[int, int]) -> bytes:
    """A TIFF that gives its width and height once or more often, and has no pixels."""
    tags = [(256 + i, 4, 1, size[i]) for size in sizes for i in (0, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags, key=lambda tag: tag[0]))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("sizes", [((20000, 20000), (10, 10)), ((10, 10), (20000, 20000))])
def test_a_size_given_twice_counts_as_the_larger(sizes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(TooLarge, match="20000 x 20000"):
        decode_image(tiff(*sizes))


@pytest.mark.parametrize("data", [bombs.shared_strips(100), bombs.shared_strips(300_000)])
def test_strips_that_lie_over_each_other(data: bytes) -> None:
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(data)


def test_strips_of_unknown_size_are_taken_for_the_whole_file() -> None:
    fields = {256: [8], 257: [80], 259: [8], 273: [8] * 80, 278: [1]}
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(bombs.tiff(fields, bytes(1000)))


def test_tiles_far_larger_than_the_image() -> None:
    with pytest.raises(UndecodableImage, match="tiles of 262144 x 16"):
        decode_image(bombs.wide_tiles(100))
    assert decode_image(bombs.wide_tiles(2, 256)).shape == (32, 16, 3)
    with pytest.raises(UndecodableImage, match="no size"):
        decode_image(bombs.tiff({256: [8], 257: [8], 322: [0], 323: [16]}, bytes(64)))


def test_a_jpeg_in_a_tiff_has_its_scans_counted() -> None:
    data = bombs.many_scans(101, 16)
    fields = {256: [16], 257: [16], 259: [7], 273: [8], 278: [16], 279: [len(data)]}
    with pytest.raises(UndecodableImage, match="more than 100"):
        decode_image(bombs.tiff(fields, data))


def test_a_size_of_64_bits_does_not_hide_the_pixels() -> None:
    fields = {256: [20_000], 257: [20_000], 273: [8], 278: [20_000], 279: [64]}
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(bombs.tiff(fields, bytes(64), types={256: 16, 257: 16}))
