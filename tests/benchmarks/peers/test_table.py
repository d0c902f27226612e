from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.peers import plot
from benchmarks.peers.records import Record, Row, rows
from benchmarks.peers.table import BEGIN, END, markdown, put_into


def figures() -> list[Row]:
    records = [
        Record("embedded", "paddle", "kit", 4, 0, 90.0, 1.0, 9.0, memory_mib=300),
        Record(
            "embedded", "paddle", "mosec", 4, 0, 60.0, 1.0, 9.0, setting="one by one", version="0.9"
        ),
        Record("embedded", "paddle", "ray", 4, 0, reason="not installed: a | b"),
    ]
    return rows(records, "kit")


def test_the_table_has_ratios_and_reasons() -> None:
    _, _, ours, mosec, ray = markdown(figures(), [4]).splitlines()
    assert "| **this kit** | 90.0 | 9 | 300 |" in ours
    assert "| Mosec 0.9 | 60.0 (x1.50) |" in mosec
    assert mosec.endswith("| one by one |")
    assert ray.endswith("| Ray Serve | - | - | - | not installed: a / b |")


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    put_into(page, "| new |\n")
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit, match="no lines"):
        put_into(page, "")


def test_the_pages_have_the_markers(root: Path) -> None:
    for name in ("performance.md", "performance.zh-CN.md"):
        text = (root / "docs" / name).read_text(encoding="utf-8")
        assert text.index(BEGIN) < text.index(END)


def test_the_plot_has_a_bar_for_each_service(tmp_path: Path) -> None:
    file = tmp_path / "peers.svg"
    plot.write(figures(), [4], file)
    drawn = ElementTree.parse(file).getroot()  # noqa: S314 - our own file
    texts = [node.text for node in drawn.iter() if node.text]
    assert {"90", "60", "4 connections", "this kit", "Mosec"} <= set(texts)
    assert "Ray Serve" not in texts


def test_a_plot_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"peers\.svg"):
        plot.write(figures(), [4], tmp_path / "peers.png")
    with pytest.raises(SystemExit, match="nothing was measured"):
        plot.write([], [4], tmp_path / "peers.svg")
