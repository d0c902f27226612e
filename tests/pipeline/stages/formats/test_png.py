"""PNGs as people have them: none loses a pixel with what OpenCV is not given."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.formats.png import complete, guard
from protocol.errors import UndecodableImage

WIDTH, HEIGHT = 17, 12


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Colour type, depth, channels, transparent colour, background, significant bits.
KINDS = {
    "grey": (0, 8, 1, b"\0\5", b"\0\7", b"\3"),
    "grey of 1 bit": (0, 1, 1, b"\0\1", b"\0\1", b"\1"),
    "grey of 16 bits": (0, 16, 1, b"\0\5", b"\0\7", b"\5"),
    "colour": (2, 8, 3, b"\0\1\0\2\0\3", b"\0\1\0\2\0\3", b"\5\6\5"),
    "colour of 16 bits": (2, 16, 3, b"\0\1\0\2\0\3", b"\0\1\0\2\0\3", b"\5\6\5"),
    "palette": (3, 8, 1, bytes(range(256)), b"\3", b"\5\6\5"),
    "palette of 4 bits": (3, 4, 1, bytes(range(16)), b"\3", b"\5\6\5"),
    "grey and alpha": (4, 8, 2, b"", b"\0\7", b"\5\5"),
    "alpha": (6, 8, 4, b"", b"\0\1\0\2\0\3", b"\5\6\5\5"),
    "alpha of 16 bits": (6, 16, 4, b"", b"\0\1\0\2\0\3", b"\5\6\5\5"),
}
# Where the pixels of each pass begin, and their steps.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]
EXIF = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"


def png(kind: str, interlaced: bool = False, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with every ancillary chunk, `before` and `after` around its pixels."""
    colours, depth, channels, transparent, background, significant = KINDS[kind]
    rng = np.random.default_rng(colours * 100 + depth)
    passes = [(WIDTH, HEIGHT)]
    if interlaced:
        passes = [(-(-(WIDTH - x) // dx), -(-(HEIGHT - y) // dy)) for x, y, dx, dy in ADAM7]
    rows = [-(-width * depth * channels // 8) for width, height in passes for _ in range(height)]
    pixels = zlib.compress(b"".join(b"\0" + rng.bytes(size) for size in rows))
    palette = chunk(b"PLTE", rng.bytes(3 << min(depth, 8))) if colours == 3 else b""
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(
                b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colours, 0, 0, interlaced)
            ),
            chunk(b"gAMA", struct.pack(">I", 20_000)),
            chunk(b"cHRM", struct.pack(">8I", *[30_000] * 8)),
            chunk(b"sRGB", b"\0"),
            chunk(b"sBIT", significant),
            palette,
            chunk(b"tRNS", transparent) if transparent else b"",
            chunk(b"bKGD", background),
            chunk(b"pHYs", struct.pack(">IIB", 300, 300, 1)),
            chunk(b"tIME", b"\x07\xe0\1\1\0\0\0"),
            chunk(b"tEXt", b"Comment\0made here"),
            chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"made here")),
            before,
            chunk(b"IDAT", pixels[: len(pixels) // 2]),
            chunk(b"IDAT", pixels[len(pixels) // 2 :]),
            after,
            chunk(b"IEND"),
        )
    )


def opencv(data: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def kinds_of(data: bytes) -> list[bytes]:
    found, position = [], 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.append(kind)
        position += 12 + length
    return found


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ancillary_chunks_change_no_pixel(kind: str, interlaced: bool) -> None:
    data = png(kind, interlaced)
    assert np.array_equal(decode_image(data), opencv(data))
    kept = kinds_of(guard(data, WIDTH, HEIGHT))
    assert set(kept) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    assert kept.count(b"IDAT") == 2


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_orientation_is_applied_wherever_it_stands(place: str) -> None:
    data = png("colour", **{place: chunk(b"eXIf", EXIF)})  # type: ignore[arg-type]
    decoded = decode_image(data)
    assert decoded.shape == (WIDTH, HEIGHT, 3)
    assert np.array_equal(decoded, opencv(data))


def test_a_colour_profile_changes_no_pixel(image: np.ndarray) -> None:
    profiles = pytest.importorskip("PIL.ImageCms", reason="Pillow makes the profile")
    profile = profiles.ImageCmsProfile(profiles.createProfile("sRGB")).tobytes()
    plain = cv2.imencode(".png", image)[1].tobytes()
    data = plain[:33] + chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile)) + plain[33:]
    assert np.array_equal(decode_image(data), opencv(data))
    assert np.array_equal(decode_image(data), image[:, :, ::-1])


@pytest.mark.parametrize("kind", ["colour", "alpha", "palette", "grey and alpha"])
@pytest.mark.parametrize(("dispose", "blend"), [(0, 0), (1, 1), (2, 0)])
def test_of_an_animation_the_first_frame_is_read(kind: str, dispose: int, blend: int) -> None:
    def frame(number: int, width: int, height: int, x: int, y: int) -> bytes:
        fields = (number, width, height, x, y, 1, 10, dispose, blend)
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", *fields))

    size = 4 * KINDS[kind][2] + 1
    second = struct.pack(">I", 2) + zlib.compress(bytes(size * 5))
    data = png(
        kind,
        before=chunk(b"acTL", struct.pack(">II", 2, 0)) + frame(0, WIDTH, HEIGHT, 0, 0),
        after=frame(1, 4, 5, 3, 2) + chunk(b"fdAT", second),
    )
    assert np.array_equal(decode_image(data), opencv(data))


@pytest.mark.parametrize("name", [b"SeCR", b"CgBI", b"S\0CR", b"\x81eCR"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_nothing_is_printed_of_a_chunk_that_is_not_the_standards(
    place: str, name: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    data = png("colour", **{place: chunk(name, b"abc")})  # type: ignore[arg-type]
    # As OpenCV has it, which lets libpng print the name.
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None
    capfd.readouterr()
    with pytest.raises(UndecodableImage, match="save it again"):
        decode_image(data)
    assert capfd.readouterr() == ("", "")


def test_a_png_with_nothing_to_drop_is_not_copied(image: np.ndarray) -> None:
    data = cv2.imencode(".png", image)[1].tobytes() + b"something behind it"
    assert guard(data, WIDTH, HEIGHT) is data
    assert complete(data)
