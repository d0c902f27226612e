"""TIFFs whose strips and tiles cost more than their pixels, or hide a size."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import DecodeLimits, decode_image
from pipeline.stages.work import estimated_megapixels
from protocol.errors import TooLarge, UndecodableImage

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))
import image_bombs as bombs


def tiff(*sizes: tuple[int, int]) -> bytes:
    """A TIFF that gives its width and height once or more often, and has no pixels."""
    tags = [(256 + i, 4, 1, size[i]) for size in sizes for i in (0, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags, key=lambda tag: tag[0]))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("sizes", [((20000, 20000), (10, 10)), ((10, 10), (20000, 20000))])
def test_a_size_given_twice_is_refused(sizes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UndecodableImage, match="tag 256 twice"):
        decode_image(tiff(*sizes))
    with pytest.raises(TooLarge, match="20000 x 20000"):
        decode_image(tiff((20000, 20000), (20000, 20000)))


@pytest.mark.parametrize(
    "data",
    [
        bombs.shared_strips(100),
        bombs.shared_strips(100, big=True),
    ],
)
def test_strips_that_lie_over_each_other(data: bytes) -> None:
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(data)


def test_a_strip_that_goes_beyond_the_file_by_its_size_is_read_as_opencv_reads_it() -> None:
    fields = {256: [8], 257: [8], 273: [8], 278: [2545], 279: [35_711_440]}
    data = bombs.tiff(fields, bytes(range(64)))
    assert decode_image(data)[:, :, 0].tobytes() == bytes(range(64))
    many = {256: [8], 257: [80], 273: [8] * 80, 278: [1], 279: [2**32 - 1] * 80}
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(bombs.tiff(many, bytes(1000)))


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


def jpeg_tiff(data: bytes, **changes: list[int]) -> bytes:
    """A TIFF of 16 x 16 with a JPEG as its strip; `changes` are by the number of a tag, as t279."""
    fields = {256: [16], 257: [16], 259: [7], 273: [8], 278: [16], 279: [len(data)]}
    return bombs.tiff(fields | {int(tag[1:]): numbers for tag, numbers in changes.items()}, data)


def test_a_jpeg_of_several_scans_in_a_tiff_is_refused() -> None:
    for data in (bombs.many_scans(101, 16), bombs.many_scans(2, 16)):
        with pytest.raises(UndecodableImage, match="of several scans"):
            decode_image(jpeg_tiff(data))


@pytest.mark.parametrize("sizes", [[0], [1], [2**32 - 1]])
def test_a_strip_that_gives_no_true_size_does_not_hide_a_jpeg(sizes: list[int]) -> None:
    """libtiff takes a size of 0 for the rest of the file, and one beyond it for damage."""
    hidden = jpeg_tiff(bombs.many_scans(101, 16), t279=sizes)
    with pytest.raises(UndecodableImage):
        decode_image(hidden)
    grey = cv2.imencode(".jpg", np.full((16, 16), 90, np.uint8))[1].tobytes()
    if sizes == [0]:
        assert decode_image(jpeg_tiff(grey, t279=sizes)).shape == (16, 16, 3)


def test_a_jpeg_larger_than_its_strip_is_refused() -> None:
    tall = cv2.imencode(".jpg", np.full((4000, 16), 90, np.uint8))[1].tobytes()
    with pytest.raises(UndecodableImage, match="a JPEG of 16 x 4000"):
        decode_image(jpeg_tiff(tall))


def test_a_jpeg_in_the_old_way_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="before 1995"):
        decode_image(jpeg_tiff(bombs.many_scans(2, 16), t259=[6]))


@pytest.mark.parametrize("kind", [1, 2, 3, 12])
def test_tags_that_point_at_the_same_bytes_are_refused(kind: int) -> None:
    """libtiff keeps a copy for each tag: a thousand over 1 MB took 1 GB."""
    size = 100_000
    count = size // {1: 1, 2: 1, 3: 2, 12: 8}[kind]
    fields = {256: [8], 257: [8], 273: [8], 278: [8], 279: [64]}

    def private(tags: int) -> bytes:
        whole = bombs.tiff(fields, bytes(range(64)).ljust(size, b"a"))
        directory = struct.unpack_from("<I", whole, 4)[0]
        (entries,) = struct.unpack_from("<H", whole, directory)
        body = whole[directory + 2 : directory + 2 + 12 * entries]
        body += b"".join(struct.pack("<HHII", 40000 + n, kind, count, 8) for n in range(tags))
        return whole[:directory] + struct.pack("<H", entries + tags) + body + bytes(4)

    assert decode_image(private(2)).shape == (8, 8, 3)
    for tags in (10, 900, 1001):
        with pytest.raises(UndecodableImage, match="tags are more than 1,000, or lie over"):
            decode_image(private(tags))
        assert estimated_megapixels(private(tags)) == 0


def test_a_tag_of_very_many_numbers_is_refused() -> None:
    fields = {256: [8], 257: [80], 273: [8] * 300_000, 278: [1], 279: [64] * 80}
    data = bombs.tiff(fields, bytes(6400))
    with pytest.raises(UndecodableImage, match="more than 262,144 strips"):
        decode_image(data)


def test_a_size_of_64_bits_does_not_hide_the_pixels() -> None:
    fields = {256: [20_000], 257: [20_000], 273: [8], 278: [20_000], 279: [64]}
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(bombs.tiff(fields, bytes(64), types={256: 16, 257: 16}))


def big_tiff(image: np.ndarray, order: str, size_type: str) -> bytes:
    """A BigTIFF of one strip, in either byte order; `size_type` is the letter of a tag type."""
    kinds = {"H": 3, "I": 4, "Q": 16}
    head = (b"II+\0" if order == "<" else b"MM\0+") + struct.pack(order + "HHQ", 8, 0, 16)
    height, width = image.shape[:2]
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 277: 3, 278: height, 284: 1}
    tags |= {273: 16 + 8 + 20 * 10 + 8, 279: image.size}
    entries = b""
    for tag, number in sorted(tags.items()):
        letter = "H" if tag in (258, 259, 262, 277, 284) else size_type
        value = struct.pack(order + letter, number).ljust(8, b"\0")
        entries += struct.pack(order + "HHQ", tag, kinds[letter], 1) + value
    directory = struct.pack(order + "Q", len(tags)) + entries + bytes(8)
    return head + directory + image.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size_type", ["H", "I", "Q"])
def test_a_bigtiff_is_read_as_opencv_reads_it(
    image: np.ndarray, order: str, size_type: str
) -> None:
    image = image[:20, :30]
    data = big_tiff(np.ascontiguousarray(image), order, size_type)
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_image(data), opencv[:, :, ::-1])
    with pytest.raises(TooLarge, match="30 x 20"):
        decode_image(data, DecodeLimits(max_pixels=500))


@pytest.mark.parametrize("number", [2**64 - 1, 2**63, 2**32])
@pytest.mark.parametrize("tag", [256, 273, 279])
def test_numbers_of_a_bigtiff_beyond_any_file_are_refused(number: int, tag: int) -> None:
    fields = {256: [8], 257: [8], 273: [16], 278: [8], 279: [64]} | {tag: [number]}
    data = bombs.tiff(fields, bytes(64), types={tag: 16}, big=True)
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(data)


@pytest.mark.parametrize("at", [0, 16, 2**16, 2**63, 2**64 - 1])
@pytest.mark.parametrize("entries", [2**16, 2**32, 2**64 - 1])
def test_a_directory_of_a_bigtiff_that_cannot_be_there(at: int, entries: int) -> None:
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", at) + struct.pack("<Q", entries) + bytes(64)
    with pytest.raises(UndecodableImage, match=r"in its header|more than 1,000"):
        decode_image(data)


def test_tiles_of_a_bigtiff_have_their_limit() -> None:
    fields = {256: [16], 257: [1600], 322: [262_144], 323: [16], 324: [16] * 100, 325: [9] * 100}
    with pytest.raises(UndecodableImage, match="tiles of 262144 x 16"):
        decode_image(bombs.tiff(fields, bytes(64), big=True))
