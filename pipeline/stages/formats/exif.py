"""The largest EXIF data that is read for the orientation of an image.

OpenCV copies every text that an entry points at, and each may be nearly all of the data: the time
grows with the square of the size. 1 MB took 0.1 s with 2000 entries; 64 MB with the 65535 entries
that are possible take minutes. In a JPEG the format allows 64 KiB; other formats get the same.
"""

from __future__ import annotations

from protocol.errors import UndecodableImage

_MAX_SIZE = 65536


def check_exif_size(size: int) -> None:
    """Refuse EXIF data that is larger than a JPEG's can be.

    Without its EXIF data the image would be classified lying on its side, without an error.

    Raises:
        UndecodableImage: it is larger.
    """
    if size > _MAX_SIZE:
        raise UndecodableImage(
            "the image has {:,} bytes of EXIF data; at most {:,} are read, save it again "
            "without".format(size, _MAX_SIZE)
        )
