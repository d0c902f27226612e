"""Inspects one image: whether it can be read, its size, its fingerprints."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.stages.decode import decode_image
from protocol.errors import ServingError

from .errors import DatasetError

_MAX_BYTES = 512 << 20


class Inspection(NamedTuple):
    """`error` is empty, or says why the image cannot be read; the numbers are then 0.

    `sha256` is that of the file, decoded or not; b"" if the file itself cannot be read.

    `across` and `down` are difference hashes of 64 bits: whether brightness rises from one cell of
    a coarse grid to the next, from left to right and from top to bottom.
    """

    sha256: bytes = b""
    across: int = 0
    down: int = 0
    width: int = 0
    height: int = 0
    size_bytes: int = 0
    error: str = ""


def inspect_image(path: str) -> Inspection:
    """Read and decode one image; never raises, since one bad file must not stop the others."""
    try:
        data = read_bytes(path)
    except DatasetError as error:
        return Inspection(error=str(error))
    digest = hashlib.sha256(data).digest()
    try:
        image = decode_image(data)
    except ServingError as error:
        return Inspection(digest, size_bytes=len(data), error=str(error))
    across, down = difference_hashes(image)
    height, width = image.shape[:2]
    return Inspection(digest, across, down, width, height, len(data))


def difference_hashes(image: np.ndarray) -> tuple[int, int]:
    """Return the hashes across and down of an image, uint8 [height, width, 3]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (9, 9), interpolation=cv2.INTER_AREA)
    return _bits(cells[:8, 1:] > cells[:8, :-1]), _bits(cells[1:, :8] > cells[:-1, :8])


def _bits(rises: np.ndarray) -> int:
    return int.from_bytes(np.packbits(rises).tobytes(), "big")


def read_bytes(path: str) -> bytes:
    """Return an image's bytes.

    Raises:
        DatasetError: it cannot be read, is no ordinary file, or is too large to be an image.
    """
    try:
        _check_file(path)
        with open(path, "rb") as file:  # noqa: PTH123 - paths are text here
            return file.read()
    except OSError as error:
        raise DatasetError(_reason(error)) from error


def _check_file(path: str) -> None:
    status = os.stat(path)  # noqa: PTH116
    # Opening a pipe would wait for a writer without end.
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError("it is no ordinary file")
    if status.st_size > _MAX_BYTES:
        raise DatasetError(f"it has {status.st_size >> 20} MiB, too much for an image")


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing, or a link to nothing"
    return f"it cannot be read: {error.strerror}"
