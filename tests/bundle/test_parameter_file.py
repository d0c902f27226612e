from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bundle.errors import BundleError
from bundle.parameter_file import check_whole

FLOAT32 = b"\x08\x05"


def record(*dims: int, dtype: bytes = FLOAT32, item_bytes: int = 4) -> bytes:
    desc = dtype + b"".join(b"\x10" + bytes([dim]) for dim in dims)
    data = bytes(item_bytes)
    for dim in dims:
        data *= dim
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + data


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "inference.pdiparams"
    path.write_bytes(content)
    return path


def test_a_whole_file_passes(tmp_path: Path) -> None:
    check_whole(
        write(tmp_path, record(2, 3) + record() + record(5, dtype=b"\x08\x03", item_bytes=8))
    )


def test_every_cut_but_between_records_is_found(tmp_path: Path) -> None:
    whole = record(2, 3) + record(4)
    for size in range(1, len(whole)):
        if size == len(record(2, 3)):
            continue  # a whole file of fewer parameters: only the graph shows it
        with pytest.raises(BundleError, match=r"inference\.pdiparams (is|has)"):
            check_whole(write(tmp_path, whole[:size]))


@pytest.mark.parametrize("content", [b"no parameters at all", b"\xff" * 100, b"PK\x03\x04" * 20])
def test_something_else_is_found(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match="is no Paddle parameter file"):
        check_whole(write(tmp_path, content))


def test_the_parameters_of_real_models_are_whole(shared: Path) -> None:
    for path in (shared / "models").rglob("*.pdiparams"):
        check_whole(path)
