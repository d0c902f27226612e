"""TIFF 6.0 and BigTIFF: the first page alone is read, as OpenCV reads it.

A BigTIFF is a TIFF whose offsets and counts have 64 bits.

Nothing in the format keeps tiles from being larger than the image, or a thousand strips from being
the same bytes of the file. 5 KB with tiles 262144 wide for 16 x 1600 pixels took 1.5 s, 1 MB of
overlapping strips 5.5 s, and more of them take longer. A JPEG of 60 scans inside took 4.7 s.
"""

from __future__ import annotations

import math
import struct
from typing import Dict, Optional, Tuple

import numpy as np

from protocol.errors import UndecodableImage

from . import jpeg
from .tiff_directory import BIG_STARTS, numbers_of, read_tags

NAME = "TIFF"

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS, _STRIP_BYTES = 273, 277, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_ALL = {_BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _ROWS, _STRIP_BYTES}
_ALL |= {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES}
_UNCOMPRESSED = 1
_OLD_JPEG = 6
_JPEG = 7

# Work in megapixels of a plain photo (pipeline/stages/work.py), by compression: of one million
# pixels, of as many bytes of samples, and of as many bytes of the file. First in the table
# uncompressed, fax 3 and 4, LZW, JPEG, PackBits; Deflate is among the others.
_WORK = {
    1: (0.3, 0.2, 0.0),
    2: (2.0, 0.4, 0.0),
    3: (2.0, 0.4, 0.0),
    4: (2.0, 0.4, 0.0),
    5: (0.3, 0.4, 0.6),
    7: (0.5, 0.2, 1.8),
    32773: (0.3, 0.2, 0.2),
}
_WORK_OF_OTHERS = (0.3, 0.6, 1.2)
# CIE L*a*b* and LogLuv are converted pixel by pixel, in floating point.
_COLOUR_WORK = {8: 12.0, 9: 12.0, 10: 12.0, 32844: 16.0, 32845: 16.0}
_PER_PIECE = 1.0
_MOST_BITS = 4 * 64

_MAX_PIECES = 262_144
# Old writers get some sizes wrong, and equal tiles may be written once.
_MAX_SHARING = 4
# Tiles may reach over the right and lower edge: by any size in use, or by half of the image.
_TILES_OF_ANY_SIZE = 2048 * 2048


def matches(data: bytes) -> bool:
    """Return whether the data begins as a TIFF does, of either byte order."""
    return data[:4] in (b"II*\x00", b"MM\x00*") or data[:8] in BIG_STARTS


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height."""
    found = read_tags(data, {_WIDTH, _HEIGHT})
    if len(found) < 2:
        return None
    return int(found[_WIDTH].max()), int(found[_HEIGHT].max())


def complete(_data: bytes) -> bool:
    """Return True: a TIFF has no end mark; OpenCV refuses one whose strips are missing."""
    return True


def guard(data: bytes, width: int, height: int) -> bytes:
    """Check that strips and tiles are not many times the file or the image, nor hide a JPEG.

    Raises:
        UndecodableImage: they are, or do; or the compression is not read.
    """
    try:
        tags = read_tags(data, _ALL)
    except struct.error:
        raise UndecodableImage("the TIFF is damaged or cut off in its header") from None
    across, down = _piece_size(tags, width, height)
    _check_tiles(across, down, width, height)
    offsets = np.concatenate([numbers_of(tags, tag) for tag in (_STRIP_OFFSETS, _TILE_OFFSETS)])
    sizes = np.concatenate([numbers_of(tags, tag) for tag in (_STRIP_BYTES, _TILE_BYTES)])
    # Old writers give sizes beyond the file, or none; libtiff reads up to its end.
    sizes = np.where(sizes > 0, np.minimum(sizes, len(data)), len(data))
    compression = numbers_of(tags, _COMPRESSION)
    if len(sizes) == 0 and np.any(compression != _UNCOMPRESSED):
        sizes = np.full(len(offsets), len(data))  # as libtiff guesses
    if max(len(offsets), len(sizes)) > _MAX_PIECES or sizes.sum() > _MAX_SHARING * len(data):
        raise UndecodableImage(
            "the TIFF's strips or tiles are too many or lie over each other; save it again as an "
            "ordinary JPEG or PNG"
        )
    if np.any(compression == _OLD_JPEG):
        raise UndecodableImage(
            "the TIFF holds a JPEG in the way of before 1995; save it again as an ordinary JPEG"
        )
    if np.any(compression == _JPEG):
        for start, length in zip(offsets.tolist(), sizes.tolist()):
            _check_jpeg(data[start : start + length], across, down)
    return data


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels, samples, strips or tiles, and compressed bytes."""
    tags = read_tags(data, _ALL)
    across, down = _piece_size(tags, width, height)
    pixels = float(-(-width // across) * across) * (-(-height // down) * down)
    compression = int(numbers_of(tags, _COMPRESSION).max(initial=_UNCOMPRESSED))
    bits = math.prod(int(numbers_of(tags, tag).max(initial=1)) for tag in (_BITS, _SAMPLES))
    pieces = len(numbers_of(tags, _STRIP_OFFSETS)) + len(numbers_of(tags, _TILE_OFFSETS))
    per_pixel, per_raw_byte, per_byte = _WORK.get(compression, _WORK_OF_OTHERS)
    per_pixel += _COLOUR_WORK.get(int(numbers_of(tags, _PHOTOMETRIC).max(initial=0)), 0.0)
    per_pixel += per_raw_byte * min(bits, _MOST_BITS) / 8
    return 1e-6 * (per_pixel * pixels + per_byte * len(data) + _PER_PIECE * pieces)


def _piece_size(tags: Dict[int, np.ndarray], width: int, height: int) -> Tuple[int, int]:
    """Return width and height of a tile, or of a strip.

    Raises:
        UndecodableImage: tiles have no size.
    """
    if _TILE_WIDTH in tags and _TILE_HEIGHT in tags:
        across, down = int(tags[_TILE_WIDTH].max()), int(tags[_TILE_HEIGHT].max())
        if across == 0 or down == 0:
            raise UndecodableImage("the TIFF has tiles of no size")
        return across, down
    rows = int(numbers_of(tags, _ROWS).max(initial=0))
    return width, min(rows, height) or height


def _check_tiles(across: int, down: int, width: int, height: int) -> None:
    covered = -(-width // across) * across * (-(-height // down) * down)
    if covered > width * height * 3 // 2 + _TILES_OF_ANY_SIZE:
        raise UndecodableImage(
            "the TIFF has tiles of {} x {} for {} x {} pixels; save it again as an ordinary JPEG "
            "or PNG".format(across, down, width, height)
        )


def _check_jpeg(piece: bytes, across: int, down: int) -> None:
    """Refuse a JPEG that is larger than its strip or tile, or goes over it more than once.

    libtiff reads a JPEG longer than the last strip, and decodes all of it if it is progressive.
    """
    found = jpeg.frame_of(piece)
    if found is None:
        return  # libjpeg finds none either
    (width, height), one_scan = found
    blocks = 16 * max(across, down) + 256  # blocks may reach over the right and lower edge
    if not one_scan or width * height > across * down + blocks:
        raise UndecodableImage(
            "the TIFF holds a JPEG of {} x {}, or of several scans, in strips or tiles of {} x {}; "
            "save it again as an ordinary JPEG".format(width, height, across, down)
        )
