from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers.records import Record, Records, rows

PLAN = {"rounds": 2, "connections": [1, 4]}


def turn(rates: dict[str, float], number: int = 0, connections: int = 4) -> list[Record]:
    return [
        Record("embedded", "paddle", peer, connections, number, rate, 1.0, 9.0)
        for peer, rate in rates.items()
    ]


def keep(path: Path, records: list[Record]) -> None:
    kept = Records.begin(path, PLAN, resume=False)
    for record in records:
        kept.add(record)


def test_an_interrupted_run_resumes_with_its_whole_turns(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    keep(path, [*turn({"kit": 90, "mosec": 60}), *turn({"kit": 80}, number=1)])
    resumed = Records.begin(path, PLAN, resume=True)
    resumed.keep_whole(["kit", "mosec"], "paddle")
    assert resumed.has(("embedded", "paddle", 0, 4))
    assert not resumed.has(("embedded", "paddle", 1, 4))
    assert Records.read(path).all == turn({"kit": 90, "mosec": 60})


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    keep(path, turn({"kit": 90}))
    with path.open("a", encoding="utf-8") as out:
        out.write('{"model": "embedded", "runt')
    assert Records.read(path).all == turn({"kit": 90})


def test_another_plan_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    keep(path, turn({"kit": 90}))
    assert Records.begin(path, {"rounds": 3}, resume=True).all == []
    assert json.loads(path.read_text(encoding="utf-8")) == {"plan": {"rounds": 3}}


def test_what_holds_no_measurements_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `make bench-peers` first"):
        Records.read(tmp_path / "results.jsonl")


def test_ratios_are_medians_of_pairs_of_one_turn() -> None:
    # The machine is slow in the second round; the ratio is not.
    measured = [
        *turn({"kit": 100, "mosec": 50}),
        *turn({"kit": 20, "mosec": 10}, number=1),
        *turn({"kit": 90, "mosec": 30}, number=2),
    ]
    ours, peer = rows(measured, "kit")
    assert ours.cells[4].requests_per_s == 90
    assert peer.cells[4].requests_per_s == 30
    assert peer.cells[4].ours == 2.0


def test_a_peer_without_figures_keeps_its_reason() -> None:
    missing = replace(turn({"ray": 0})[0], reason="not installed")
    (row,) = rows([missing], "kit")
    assert (row.cells, row.reason) == ({}, "not installed")
