"""Checks parameter files against the graph: missing, truncated, swapped or foreign ones are found.

A combined file is one record a parameter, in the order of their names; `bundle.parameter_file` says
what a record is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bundle.parameter_file import NoRecordError, read_record

from ..errors import ConversionError
from .graph import GraphTensor
from .graph_file import inside


def check_combined(path: Path, parameters: Sequence[GraphTensor]) -> None:
    """Check that a file holds exactly the given parameters.

    Args:
        path: the combined file.
        parameters: what the graph needs, sorted by name.

    Raises:
        ConversionError: it is missing, truncated, or belongs to another model.
    """
    if not parameters and path.is_file() and path.stat().st_size == 0:
        return  # a graph without parameters has an empty file
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
    for parameter in parameters:
        if not inside(parameter.name):
            raise ConversionError(
                f"{folder}: the graph names a parameter outside it: {parameter.name!r}"
            )
    paths = [folder / parameter.name for parameter in parameters]
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
        record = read_record(file, size)
    except NoRecordError as error:
        cause = "is no Paddle parameter file" if position.startswith("1 of ") else "is damaged"
        raise ConversionError(
            f"{path}: {cause} (at {parameter.name!r}, parameter {position}: {error});"
            " copy or export it again"
        ) from error
    if not _same_shape(record.shape, parameter.shape):
        raise ConversionError(
            f"{path}: belongs to another model: parameter {position}, {parameter.name!r}, is"
            f" {list(parameter.shape)} in the graph and {list(record.shape)} in the file; copy both"
            " files from one export"
        )
    if record.end > size:
        raise ConversionError(
            f"{path}: is truncated within {parameter.name!r}, parameter {position}: {size} bytes,"
            f" at least {record.end} needed; copy or export it again"
        )
    file.seek(record.end)


def _same_shape(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    # A scalar is [] or [1], as the Paddle version had it.
    return stored == wanted or (math.prod(stored) == 1 and wanted in ((), (1,)))
