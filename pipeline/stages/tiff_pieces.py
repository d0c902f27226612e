"""The strips and tiles of a TIFF: that they cost no more than the picture does.

Nothing in the format keeps tiles from being larger than the picture, nor a thousand of them from
being the same bytes of the file. 5 KB of tiles 262144 wide for 16 x 1600 pixels took 1.5 s, 1 MB of
overlapping strips 5.5 s, both more the more of them; a JPEG of 60 scans inside, 4.7 s.
"""

from __future__ import annotations

import struct
from typing import Dict, Tuple

import numpy as np

from protocol.errors import UndecodableImage

from . import tiff_directory as tiff
from .jpeg_scans import check_scans

_TAGS = (
    tiff.COMPRESSION,
    tiff.STRIP_OFFSETS,
    tiff.STRIP_BYTES,
    tiff.TILE_WIDTH,
    tiff.TILE_HEIGHT,
    tiff.TILE_OFFSETS,
    tiff.TILE_BYTES,
)
# 50 megapixels in tiles of 16 x 16, or as many rows. A million strips took 1.9 s.
_MAX_PIECES = 262_144
# Tiles stand out at the right and below: by any size that is in use, or by half of the picture.
_TILES_OF_ANY_SIZE = 2048 * 2048
# Old writers get some sizes wrong; equal tiles may be written once.
_MAX_SHARING = 4
_UNCOMPRESSED = 1
_JPEG = 7


def check_pieces(data: bytes, width: int, height: int) -> None:
    """Refuse a TIFF whose strips or tiles are many times the file or the picture.

    Raises:
        UndecodableImage: likewise.
    """
    try:
        fields = tiff.read_fields(data, _TAGS)
    except struct.error:
        raise UndecodableImage("the TIFF is damaged or cut off in its header") from None
    _check_tiles(fields, width, height)
    offsets, sizes = _pieces(fields)
    compression = fields.get(tiff.COMPRESSION, np.array([_UNCOMPRESSED]))
    if len(sizes) == 0 and np.any(compression != _UNCOMPRESSED):
        sizes = np.full(len(offsets), len(data))  # as libtiff guesses
    if max(len(offsets), len(sizes)) > _MAX_PIECES or sizes.sum() > _MAX_SHARING * len(data):
        raise UndecodableImage(
            "the TIFF's strips or tiles are too many or lie over each other; save it again as an "
            "ordinary JPEG or PNG"
        )
    if np.any(compression == _JPEG):
        for start, size in zip(offsets.tolist(), sizes.tolist()):
            check_scans(data[start : start + size], width * height)


def _pieces(fields: Dict[int, np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
    none = np.zeros(0, np.int64)
    offsets = [fields.get(tag, none) for tag in (tiff.STRIP_OFFSETS, tiff.TILE_OFFSETS)]
    sizes = [fields.get(tag, none) for tag in (tiff.STRIP_BYTES, tiff.TILE_BYTES)]
    return np.concatenate(offsets), np.concatenate(sizes)


def _check_tiles(fields: Dict[int, np.ndarray], width: int, height: int) -> None:
    if tiff.TILE_WIDTH not in fields or tiff.TILE_HEIGHT not in fields:
        return
    across, down = int(fields[tiff.TILE_WIDTH].max()), int(fields[tiff.TILE_HEIGHT].max())
    if across == 0 or down == 0:
        raise UndecodableImage("the TIFF has tiles of no size")
    covered = -(-width // across) * across * (-(-height // down) * down)
    if covered > width * height * 3 // 2 + _TILES_OF_ANY_SIZE:
        raise UndecodableImage(
            "the TIFF has tiles of {} x {} for {} x {} pixels; save it again as an ordinary JPEG "
            "or PNG".format(across, down, width, height)
        )
