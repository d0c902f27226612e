"""An estimate of what decoding an image costs, from its header and its number of bytes.

The unit is a megapixel of an ordinary photo as baseline JPEG: 1 MP of it takes 4 ms on one core of
an AMD EPYC, so that who learns the seconds of one megapixel on a machine knows all the others. Each
format says how its pixels and its bytes count; the figures were measured with OpenCV 5.0.
"""

from __future__ import annotations

import struct

from protocol.errors import UndecodableImage

from .formats import jpeg
from .formats.image_format import format_of

# A hundredth of the time that an image which is not heavy may take, or less.
_QUICK_MEGAPIXELS = 2.0


def estimated_megapixels(image: bytes) -> float:
    """Return the work of decoding `image`, in megapixels of a baseline JPEG; 0 if it has no header.

    No pixel is decoded. The header is read, of at most a few thousand segments; of a JPEG that may
    have many scans the whole data is searched for them, 0.2 ms for a megabyte. An image with a
    header that cannot be read counts nothing, because decoding it fails at once.
    """
    image_format = format_of(image)
    if image_format is None:
        return 0.0
    try:
        size = image_format.size(image)
        if size is None or min(size) <= 0:
            return 0.0
        return image_format.work(image, *size)
    except (struct.error, IndexError, UndecodableImage):
        return 0.0


def is_surely_quick(image: bytes) -> bool:
    """Return whether decoding `image` needs no bound on its time: the header says that it is small.

    A JPEG of Huffman codes takes no longer than its header says, but for a small factor. Of other
    formats a few bytes may unpack to far more work.
    """
    if not jpeg.matches(image):
        return False
    try:
        work = jpeg.bounded_work(image)
    except (struct.error, IndexError, UndecodableImage):
        return False
    return work is not None and work <= _QUICK_MEGAPIXELS
