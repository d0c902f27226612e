"""Calls of `python -m tools.datasets` in this process, and drawn images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from tools.datasets.__main__ import main

Draw = Callable[..., Path]


def listed(path: Path) -> dict[str, int]:
    entries = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: int(number) for name, number in entries}


def split(data: Path, output: Path, *more: str) -> int:
    return main(["split", str(data), "--output", str(output), *more])


def refusal(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line on stderr of a call that was refused."""
    assert code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


def noise(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Smooth noise, as photographs are smooth."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (width, height))


def save(path: Path, image: np.ndarray, *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    written, data = cv2.imencode(path.suffix, image, options)
    assert written
    path.write_bytes(data.tobytes())
    return path


def checked(
    capsys: pytest.CaptureFixture[str], *arguments: object, expected: int | None = None
) -> dict[str, Any]:
    """The report of `check --json`."""
    capsys.readouterr()
    code = main(["check", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.err == ""
    report: dict[str, Any] = json.loads(captured.out)
    assert code == (0 if report["clean"] else 1)
    assert report["clean"] == (not report["findings"])
    assert expected is None or code == expected
    return report


def kinds(report: dict[str, Any]) -> list[str]:
    return [finding["kind"] for finding in report["findings"]]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


def statistics(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["statistics", "--json", *map(str, arguments)]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def plain(paths: list[Path], size: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean and deviation of all pixels at once."""
    images = [decode_image(path.read_bytes()) for path in paths]
    if size:
        images = [cv2.resize(image, (size, size)) for image in images]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
    return pixels.mean(axis=0), pixels.std(axis=0), len(pixels)
