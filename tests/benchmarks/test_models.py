from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.models import BEGIN, END, markdown


def row(backend: str, batch_size: int, images_per_s: float | None, **changed: object) -> object:
    return {
        "backend": backend,
        "form": "export",
        "precision": "fp32",
        "batch_size": batch_size,
        "threads": 1,
        "fast_decode": False,
        "images_per_s": images_per_s,
        "alone_ms": 7.0,
        "memory_mib": 200.0,
        "agreement": {"largest_difference": 1e-6, "same_best": 11, "images": 11},
        "refused": "",
        "error": "",
        **changed,
    }


TUNED = {
    "candidates": [
        row("paddle", 1, 40.0),
        row("paddle", 8, 50.0),
        row("onnxruntime", 1, 100.0),
        row("openvino", 1, None, agreement=None, error="it crashed | signal 11"),
    ]
}


def test_rates_of_a_runtime_stand_in_one_row_beside_paddles_best() -> None:
    _, _, paddle, onnx, openvino = markdown({"waste": TUNED}).splitlines()
    assert paddle.startswith("| waste | Paddle | export | fp32 | 40.0 | 50.0 | 1.00 | 7 | 200 |")
    assert onnx.endswith("| 100.0 | - | 2.00 | 7 | 200 | 1.0e-06 | 11 of 11 |")
    assert "it crashed / signal 11" in openvino
    assert len({line.count("|") for line in (paddle, onnx, openvino)}) == 1


def test_kept_figures_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="holds no figures"):
        main(["models", "--show", "--work", str(tmp_path)])
    (tmp_path / "waste.json").write_text(json.dumps(TUNED), encoding="utf-8")
    assert main(["models", "--show", "--work", str(tmp_path)]) == 0
    assert "ONNX Runtime" in capsys.readouterr().out


def test_the_pages_have_the_markers(root: Path) -> None:
    for name in ("performance.md", "performance.zh-CN.md"):
        text = (root / "docs" / name).read_text(encoding="utf-8")
        assert text.index(BEGIN) < text.index(END)
