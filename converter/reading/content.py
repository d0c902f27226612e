"""What a file is by what it holds, whatever it is called: a graph of a format, or parameters.

Only heads are read, and the frame of the fields: a model of gigabytes takes some hundred bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bundle.formats import FLUID, ONNX, PDMODEL, PIR, GraphFormat

from ..errors import ConversionError
from .graph import GraphTensor
from .parameters import check_combined

_HEAD_BYTES = 512
# Protobuf's wire types.
_VARINT, _BYTES = 0, 2
_MOST_FIELDS = 10_000  # of a ModelProto; each of its functions is one
# Fields of onnx.proto's ModelProto: number -> wire type; 1 is ir_version, 7 the graph.
_MODEL_PROTO = {1: _VARINT, 5: _VARINT, **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)}
# Fields of framework.proto's ProgramDesc; 1 is a block, and the first one begins with `idx: 0`.
_PROGRAM_DESC = dict.fromkeys(range(1, 6), _BYTES)
_FIRST_BLOCK = b"\x08\x00"


class _Field(NamedTuple):
    number: int
    wire: int
    content: int  # offset
    end: int


def format_by_content(path: Path) -> GraphFormat | None:
    """The format of the graph in a file; None if it holds none, or cannot be read.

    A ProgramDesc is Paddle 2's where its name says so, else Paddle 1's: they are read alike. A
    graph that is cut off is one still.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if head.lstrip()[:1] == b"{":
                return PIR if PIR.marker in head and b'"base_code"' in head else None
            if _is_of(file, size, _MODEL_PROTO, {1, 7}):
                return ONNX
            if _is_of(file, size, _PROGRAM_DESC, {1}, begins=_FIRST_BLOCK):
                return PDMODEL if path.suffix.lower() == PDMODEL.suffix else FLUID
    except OSError:
        pass
    return None


def graphs_by_content(folder: Path) -> list[tuple[GraphFormat, Path]]:
    """The files in a folder that are graphs, with their formats."""
    found = [
        (format_by_content(path), path)
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    return [(graph_format, path) for graph_format, path in found if graph_format is not None]


def fitting_parameters(files: Sequence[Path], parameters: Sequence[GraphTensor]) -> list[Path]:
    """Those of the files that hold exactly the parameters of a graph; empty ones are none."""
    return [path for path in files if path.stat().st_size and _fit(path, parameters)]


def _fit(path: Path, parameters: Sequence[GraphTensor]) -> bool:
    try:
        check_combined(path, parameters)
    except (ConversionError, OSError):
        return False
    return True


def _is_of(
    file: BinaryIO, size: int, known: dict[int, int], needed: set[int], begins: bytes = b""
) -> bool:
    """Whether a file consists of the fields of a message, all the needed ones among them."""
    seen: set[int] = set()
    for field in _fields(file, size):
        if known.get(field.number) != field.wire:
            return False
        if not seen and begins:
            file.seek(field.content)
            if file.read(len(begins)) != begins:
                return False
        seen.add(field.number)
        if field.end > size:
            break  # cut off: reading it says so
    return needed <= seen


def _fields(file: BinaryIO, size: int) -> Iterator[_Field]:
    """The fields of a message in a file, in their order; the last may end beyond the file.

    What is no message yields a field of the number 0, which none has.
    """
    at = 0
    for _ in range(_MOST_FIELDS):
        if at >= size:
            return
        file.seek(at)
        tag, behind = _varint(file.read(10), at)
        file.seek(behind)
        value, content = _varint(file.read(10), behind)
        number, wire = tag >> 3, tag & 7
        if number == 0 or wire not in (_VARINT, _BYTES) or content == behind:
            yield _Field(0, 0, at, at)
            return
        end = content + value if wire == _BYTES else content
        yield _Field(number, wire, content, end)
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of protobuf at the beginning of `data`, and the offset behind it; `at` if none."""
    value = 0
    for position, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, at + position + 1
    return 0, at
