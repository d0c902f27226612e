"""How much EXIF data is read for the orientation of a picture.

OpenCV copies every text that an entry points at, and each may be nearly all of the data: the time
goes with the square of the size. 1 MB of it took 0.1 s with 2000 entries; 64 MB with the 65535
that are possible, minutes. In a JPEG it cannot have more than 64 KiB; the same goes for the others.
"""

from __future__ import annotations

import struct

from protocol.errors import UndecodableImage

_MAX_SIZE = 65536
# An animation has one for each of its pictures.
_MAX_CHUNKS = 10_000


def check_exif_size(size: int) -> None:
    """Refuse what is larger than EXIF data of a JPEG can be.

    Dropping it would leave the picture lying on its side, with nobody told.

    Raises:
        UndecodableImage: likewise.
    """
    if size > _MAX_SIZE:
        raise UndecodableImage(
            "the picture has {:,} bytes of EXIF data; at most {:,} are read, save it again "
            "without".format(size, _MAX_SIZE)
        )


def check_webp_exif(data: bytes) -> None:
    """Do that for each piece of EXIF data in a WebP.

    Raises:
        UndecodableImage: one is too large, or the WebP is made of far too many pieces.
    """
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, size = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            check_exif_size(int(size))
        position += 8 + size + size % 2
    raise UndecodableImage(
        "the WebP has more than {:,} chunks; save it again as an ordinary one".format(_MAX_CHUNKS)
    )
