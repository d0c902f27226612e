"""Every file of a folder, decoded by us, OpenCV and Pillow: what differs, and of what kind it is.

`python tests/conformance/image_collection.py FOLDER` prints a JSON object: the files, and for
OpenCV and for Pillow each file that differs with its kind. A kind is a rule about the file and its
pixels, never about its name. Run it in a process of its own: some files cost a library gigabytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PIXELS = 50_000_000
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(PIXELS)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402

from pipeline.stages.decode import DecodeLimits, decode_image  # noqa: E402
from protocol.errors import ServingError  # noqa: E402

MEMORY = 8 * 2**30
UNLISTED = "unlisted"


class Compared(NamedTuple):
    """One file: what each of the three made of it, RGB, or None where it was refused."""

    data: bytes
    ours: np.ndarray | None
    error: str
    opencv: np.ndarray | None
    pillow: np.ndarray | None
    stored: np.ndarray | None  # Pillow's, with no orientation applied
    mode: str  # Pillow's

    def tiff_numbers(self, tag: int) -> list[int]:
        """The numbers of a tag of the first page, SHORT or LONG, else nothing."""
        try:
            return _tiff_numbers(self.data, tag)
        except (struct.error, OverflowError):
            return []


Rule = tuple[str, Callable[[Compared], bool]]

REFUSED: tuple[Rule, ...] = (
    ("a format that is not read", lambda one: "this looks like" in one.error),
    ("cut off", lambda one: "cut off" in one.error),
    ("too large", lambda one: "are decoded" in one.error),
    ("costs more than its pixels", lambda one: "save it again" in one.error and _costs(one)),
)
FROM_OPENCV: tuple[Rule, ...] = (
    *REFUSED,
    ("animation in a PNG", lambda one: _is_png(one) and b"acTL" in one.data),
    ("mark before EXIF data", lambda one: b"Exif\0\0" in one.data and _same(one.ours, one.pillow)),
)
FROM_PILLOW: tuple[Rule, ...] = (
    *REFUSED,
    ("OpenCV does not read it", lambda one: one.ours is None and one.opencv is None),
    ("Pillow does not read it", lambda one: one.pillow is None),
    ("orientation outside EXIF data", lambda one: _same(one.ours, one.stored)),
    ("16 bits", lambda one: one.mode.startswith("I") or 16 in one.tiff_numbers(258)),
    ("CMYK, Lab or YCbCr", lambda one: one.mode in ("CMYK", "LAB", "YCbCr")),
    ("alpha in a TIFF", lambda one: bool(one.tiff_numbers(338))),
    ("BMP of other than 24 bits", lambda one: one.data[:2] == b"BM" and one.data[28] != 24),
)


def main(folder: Path) -> dict[str, Any]:
    """Compare every file in `folder`."""
    # Pillow refuses an image of twice this.
    Image.MAX_IMAGE_PIXELS = PIXELS // 2
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found: dict[str, Any] = {"files": len(files), "read": 0, "opencv": {}, "pillow": {}}
    for path in files:
        one = _compared(path.read_bytes())
        found["read"] += one.ours is not None
        for name, theirs, rules in (
            ("opencv", one.opencv, FROM_OPENCV),
            ("pillow", one.pillow, FROM_PILLOW),
        ):
            if not _same(one.ours, theirs):
                kind = next((kind for kind, rule in rules if rule(one)), UNLISTED)
                found[name][str(path.relative_to(folder))] = kind
    return found


def _compared(data: bytes) -> Compared:
    ours, error = None, ""
    try:
        ours = decode_image(data, DecodeLimits(PIXELS))
    except ServingError as refused:
        error = str(refused)
    return Compared(data, ours, error, _by_opencv(data), *_by_pillow(data))


def _by_opencv(data: bytes) -> np.ndarray | None:
    image = None
    if data:
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is not None and image.ndim == 2:  # a PFM, which IMREAD_COLOR leaves grey
        return np.dstack([image] * 3)
    return None if image is None else image[:, :, ::-1]


def _by_pillow(data: bytes) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    try:
        image = Image.open(io.BytesIO(data))
        stored = np.asarray(image.convert("RGB"))
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception:  # damaged files raise whatever a reader meets
        return None, None, ""
    return upright, stored, image.mode


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _is_png(one: Compared) -> bool:
    return one.data.startswith(b"\x89PNG")


def _costs(one: Compared) -> bool:
    return any(words in one.error for words in ("too many", "far behind", "EXIF data", "tiles of"))


def _tiff_numbers(data: bytes, tag: int) -> list[int]:
    big = data[2:4] in (b"+\0", b"\0+")
    if data[:2] not in (b"II", b"MM") or (not big and data[2:4] not in (b"*\0", b"\0*")):
        return []
    order = "<" if data[:2] == b"II" else ">"
    first, offset, entries, size = (8, "Q", "Q", 20) if big else (4, "I", "H", 12)
    (directory,) = struct.unpack_from(order + offset, data, first)
    (count,) = struct.unpack_from(order + entries, data, directory)
    start = directory + struct.calcsize("=" + entries)
    for at in range(start, start + size * min(count, 1000), size):
        found, kind, numbers = struct.unpack_from(order + "HH" + offset, data, at)
        if found == tag and kind in (3, 4) and numbers <= 16:
            letter = "H" if kind == 3 else "I"
            place = at + 4 + struct.calcsize("=" + offset)
            if numbers * struct.calcsize("=" + letter) > struct.calcsize("=" + offset):
                (place,) = struct.unpack_from(order + offset, data, place)
            return list(struct.unpack_from(f"{order}{numbers}{letter}", data, place))
    return []


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
