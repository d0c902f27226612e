"""Checks parameter files against the graph: missing, truncated, swapped or foreign ones are found.

A record is one tensor: uint32 version, the LoD (uint64 levels; per level uint64 bytes and the
data), uint32 tensor version, int32 size of a TensorDesc, the TensorDesc, and the data. A combined
file is one record a parameter, in the order of their names. Only the heads of the records are read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from google.protobuf.message import DecodeError

from .errors import ConversionError
from .graph import GraphTensor
from .program_graph import DTYPES, MESSAGES

_ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "float32": 4,
    "int64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
_LARGEST_DESC_BYTES = 4096


class Record(NamedTuple):
    """The head of one tensor in a parameter file."""

    dtype: str
    shape: tuple[int, ...]
    end: int  # offset of the byte behind its data


class _NoRecord(Exception):
    """What stands here is no record."""


def check_combined(path: Path, parameters: Sequence[GraphTensor]) -> None:
    """Check that a file holds exactly the given parameters.

    Args:
        path: the combined file.
        parameters: what the graph needs, sorted by name.

    Raises:
        ConversionError: it is missing, truncated, or belongs to another model.
    """
    size = _size(path)
    with path.open("rb") as file:
        for index, parameter in enumerate(parameters):
            if file.tell() >= size:
                raise ConversionError(
                    f"{path}: ends after {index} of {len(parameters)} parameters; it is truncated"
                    " or belongs to another model; copy or export it again"
                )
            _check_record(path, file, size, parameter, f"{index + 1} of {len(parameters)}")
        if file.tell() != size:
            raise ConversionError(
                f"{path}: holds {size - file.tell()} bytes more than the model's"
                f" {len(parameters)} parameters; it belongs to another model"
            )


def check_separate(folder: Path, parameters: Sequence[GraphTensor]) -> tuple[Path, ...]:
    """Check that a folder holds one file a parameter.

    Returns:
        The files, in the order of the parameters.

    Raises:
        ConversionError: one is missing, truncated, or belongs to another model.
    """
    paths = [folder / parameter.name for parameter in parameters]
    for path in paths:
        if folder.resolve() not in path.resolve().parents:
            raise ConversionError(f"{folder}: the graph names a parameter outside it: {path}")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ConversionError(
            f"{folder}: {len(missing)} of {len(paths)} parameter files are missing ({shown});"
            " copy them too, or name a combined file with --params-file"
        )
    for path, parameter in zip(paths, parameters, strict=True):
        size = _size(path)
        with path.open("rb") as file:
            _check_record(path, file, size, parameter, "1 of 1")
            if file.tell() != size:
                raise ConversionError(f"{path}: holds more than {parameter.name!r}; copy it again")
    return tuple(paths)


def _size(path: Path) -> int:
    if not path.is_file():
        raise ConversionError(f"{path}: the parameter file is missing; copy it beside the model")
    size = path.stat().st_size
    if size == 0:
        raise ConversionError(f"{path}: is empty; copy or export it again")
    return size


def _check_record(
    path: Path, file: BinaryIO, size: int, parameter: GraphTensor, position: str
) -> None:
    """Check one record and leave the file behind it."""
    try:
        record = _read_record(file, size)
    except _NoRecord as error:
        cause = "is no Paddle parameter file" if position.startswith("1 of ") else "is damaged"
        raise ConversionError(
            f"{path}: {cause} (at {parameter.name!r}, parameter {position}: {error});"
            " copy or export it again"
        ) from error
    if not _same_shape(record.shape, parameter.shape):
        raise ConversionError(
            f"{path}: belongs to another model: parameter {position}, {parameter.name!r}, is"
            f" {list(parameter.shape)} in the graph and {list(record.shape)} in the file"
        )
    if record.end > size:
        raise ConversionError(
            f"{path}: is truncated within {parameter.name!r}, parameter {position}: {size} bytes,"
            f" at least {record.end} needed; copy or export it again"
        )
    file.seek(record.end)


def _read_record(file: BinaryIO, size: int) -> Record:
    version, lod_levels = struct.unpack("<IQ", _take(file, 12))
    if version != 0 or lod_levels > 8:
        raise _NoRecord(f"version {version}")
    for _ in range(lod_levels):
        (level_bytes,) = struct.unpack("<Q", _take(file, 8))
        if file.tell() + level_bytes > size:
            raise _NoRecord("cut off")
        file.seek(level_bytes, 1)
    tensor_version, desc_bytes = struct.unpack("<Ii", _take(file, 8))
    if tensor_version != 0 or not 0 < desc_bytes <= _LARGEST_DESC_BYTES:
        raise _NoRecord(f"tensor version {tensor_version}, description of {desc_bytes} bytes")
    desc = MESSAGES["TensorDesc"]()
    try:
        desc.ParseFromString(_take(file, desc_bytes))
    except DecodeError as error:
        raise _NoRecord("unreadable description") from error
    dtype, shape = DTYPES.get(desc.data_type), tuple(desc.dims)
    if dtype is None or any(dim < 0 for dim in shape):
        raise _NoRecord(f"element type {desc.data_type}, shape {list(shape)}")
    return Record(dtype, shape, file.tell() + math.prod(shape) * _ITEM_BYTES[dtype])


def _take(file: BinaryIO, count: int) -> bytes:
    taken = file.read(count)
    if len(taken) != count:
        raise _NoRecord("cut off")
    return taken


def _same_shape(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    # A scalar is [] or [1], as the Paddle version had it.
    return stored == wanted or (math.prod(stored) == 1 and wanted in ((), (1,)))
