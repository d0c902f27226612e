"""EXIF data outside a JPEG: its size is limited, and it begins as OpenCV reads it.

OpenCV copies every text that an entry points at, and each may be nearly all of the data: the time
grows with the square of the size. 1 MB took 0.1 s with 2000 entries; 64 MB with the 65535 entries
that are possible take minutes. In a JPEG the format allows 64 KiB; other formats get the same.

In a JPEG a mark stands before the EXIF data. WebP and PNG have none, but writers that copy the data
of a JPEG leave it there. Pillow, libvips and ExifTool read past it, OpenCV and libpng drop such
data: the image would be classified lying on its side. So OpenCV gets it without the mark.
"""

from __future__ import annotations

from protocol.errors import UndecodableImage

_MAX_SIZE = 65536
_MARK = b"Exif\0\0"


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


def without_mark(exif: bytes) -> bytes:
    """Return the EXIF data from its byte order on."""
    while exif.startswith(_MARK):
        exif = exif[len(_MARK) :]
    return exif
