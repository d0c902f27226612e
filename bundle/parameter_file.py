"""Parameter files: tensors one after the other, whose heads say whether the file is whole.

A record is one tensor: uint32 version, the LoD (uint64 levels; per level uint64 bytes and the
data), uint32 tensor version, int32 size of a TensorDesc, the TensorDesc, and the data
(paddle/phi/core/framework/dense_tensor_serialize.cc). Only the heads are read.

Paddle itself loads a file that is cut off without a word, and answers with what memory holds.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple, Optional, Tuple

from google.protobuf.message import DecodeError

from .dynamic_messages import Field, build_messages
from .errors import BundleError

# framework.proto's VarType.Type: the element types, by numpy's names, and their sizes.
DTYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
    22: "bfloat16",
    23: "complex64",
    24: "complex128",
}
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
# Of a file; the largest classifiers have some thousand parameters.
_MOST_RECORDS = 100_000
# What lies under a model file's name when a download went wrong; none begins like a record, nor
# like a graph in any format.
_OTHER_FILES = (
    (b"version http", "it is a Git LFS pointer, and `git lfs pull` fetches the file"),
    (b"<!DOCTYPE", "it is a web page"),
    (b"<!doctype", "it is a web page"),
    (b"<html", "it is a web page"),
    (b"PK\x03\x04", "it is a ZIP archive"),
    (b"\x80", "it is a pickle, as training checkpoints are"),
)
_TENSOR_DESC = build_messages(
    "paddle_serving_kit.parameter_file",
    {
        "TensorDesc": {
            "data_type": Field(1, "int32"),
            "dims": Field(2, "int64", repeated=True),
        }
    },
)["TensorDesc"]


class NoRecordError(Exception):
    """What stands here is no record."""


class Record(NamedTuple):
    """The head of one tensor in a parameter file."""

    dtype: str
    shape: Tuple[int, ...]
    end: int  # offset of the byte behind its data


def other_file(head: bytes) -> Optional[str]:
    """What a file is, by its first 12 bytes or more, that is surely no part of a model."""
    return next((what for begin, what in _OTHER_FILES if head.startswith(begin)), None)


def read_record(file: BinaryIO, size: int) -> Record:
    """Read the head of the record at the file's position; `size` is the whole file's.

    Raises:
        NoRecordError: there is none.
    """
    head = _take(file, 12)
    what = other_file(head)
    if what is not None:
        raise NoRecordError(what)
    version, lod_levels = struct.unpack("<IQ", head)
    if version != 0 or lod_levels > 8:
        raise NoRecordError("version {}".format(version))
    for _ in range(lod_levels):
        (level_bytes,) = struct.unpack("<Q", _take(file, 8))
        if file.tell() + level_bytes > size:
            raise NoRecordError("cut off")
        file.seek(level_bytes, 1)
    tensor_version, desc_bytes = struct.unpack("<Ii", _take(file, 8))
    if tensor_version != 0 or not 0 < desc_bytes <= _LARGEST_DESC_BYTES:
        raise NoRecordError(
            "tensor version {}, description of {} bytes".format(tensor_version, desc_bytes)
        )
    desc = _TENSOR_DESC()
    try:
        desc.ParseFromString(_take(file, desc_bytes))
    except DecodeError as error:
        raise NoRecordError("unreadable description") from error
    dtype, shape = DTYPES.get(desc.data_type), tuple(desc.dims)
    if dtype is None or any(dim < 0 for dim in shape):
        raise NoRecordError("element type {}, shape {}".format(desc.data_type, list(shape)))
    count = 1
    for dim in shape:
        count *= dim
    return Record(dtype, shape, file.tell() + count * _ITEM_BYTES[dtype])


def check_whole(path: Path) -> None:
    """Check that a parameter file ends where its last record does.

    Raises:
        BundleError: it is cut off, damaged, no parameter file, or has too many records.
    """
    size = path.stat().st_size
    records = 0
    with path.open("rb") as file:
        while file.tell() < size:
            try:
                record = read_record(file, size)
            except NoRecordError as error:
                what = "is damaged" if records else "is no Paddle parameter file"
                raise BundleError(
                    "{} {} (parameter {}: {}); copy or convert it again".format(
                        path, what, records + 1, error
                    )
                ) from error
            if record.end > size:
                raise BundleError(
                    "{} is truncated in its parameter {}: {} bytes, at least {} needed; copy or "
                    "convert it again".format(path, records + 1, size, record.end)
                )
            file.seek(record.end)
            records += 1
            if records > _MOST_RECORDS:
                raise BundleError(
                    "{} holds more than {} parameters, as no classifier does; copy or convert it "
                    "again".format(path, _MOST_RECORDS)
                )


def _take(file: BinaryIO, count: int) -> bytes:
    taken = file.read(count)
    if len(taken) != count:
        raise NoRecordError("cut off")
    return taken
