from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.peers.records import Record, Records
from benchmarks.targets.command import BEGIN, END, PAGES, markdown
from benchmarks.targets.others import PEERS_PART, read_peers
from benchmarks.targets.target import Target, ratios


def test_a_promise_is_kept_by_the_median_of_the_rounds() -> None:
    faster = Target("limit", "a over b", 0.97, (0.5, 0.97, 1.2))
    assert (faster.held, faster.verdict, faster.value) == (True, "held", 0.97)
    slower = Target("limit", "a over b", 0.97, (0.5, 0.96, 1.2))
    assert (slower.held, slower.verdict) == (False, "missed")
    assert slower.found == "0.96 (0.50 to 1.20)"
    spread = Target("limit", "p99 over p50", 2.5, (2.6,), at_most=True)
    assert (spread.held, spread.wanted) == (False, "at most 2.50")


def test_what_was_not_measured_is_not_held() -> None:
    target = Target("serving09", "a over b", 3.8, reason="not installed")
    assert (target.held, target.found, target.verdict) == (None, "-", "not measured")


def test_a_round_without_replies_is_no_division_by_zero() -> None:
    assert ratios([10.0, 10.0], [5.0, 0.0]) == (2.0, 0.0)


def test_the_table_has_a_line_for_each_promise_and_the_reason() -> None:
    targets = [Target("six", "a | b", 1.0, (1.5,)), Target("six", "c", 1.0, reason="no c")]
    head, rule, first, second = markdown(targets).splitlines()
    assert first == "| a / b | at least 1.00 | 1.50 | held |"
    assert second == "| c | at least 1.00 | - | not measured: no c |"
    assert {line.count("|") for line in (head, rule, first, second)} == {5}


def test_each_line_of_the_last_run_of_peers_is_a_promise(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    records = Records.begin(file, {}, resume=False)
    for connections, theirs in ((1, 50.0), (16, 120.0)):
        ours = Record("embedded", "paddle", "kit", connections, 0, requests_per_s=100.0)
        records.add(ours)
        records.add(replace(ours, peer="mosec", requests_per_s=theirs))
        records.add(replace(ours, peer="bentoml", requests_per_s=0.0, reason="not installed"))
    found = {target.what: target for target in read_peers(file)}
    assert found["embedded, paddle: over Mosec, 1 connections"].value == 2.0
    assert found["embedded, paddle: over Mosec, 16 connections"].held is False
    (absent,) = (t for what, t in found.items() if "BentoML" in what)
    assert (absent.held, absent.reason) == (None, "not installed")


def test_without_a_run_of_peers_that_is_said(tmp_path: Path) -> None:
    (target,) = read_peers(tmp_path / "results.jsonl")
    assert target.part == PEERS_PART
    assert "bench-peers" in target.reason


def test_the_pages_have_the_markers(root: Path) -> None:
    for page in PAGES:
        text = (root / page).read_text(encoding="utf-8")
        assert text.index(BEGIN) < text.index(END)


def test_numbers_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--rounds"):
        main(["targets", "--rounds", "0", "--work", str(tmp_path / "work")])


@pytest.mark.slow
def test_a_short_run_measures_tuned_untuned_and_paddle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("paddle", reason="others are compared with Paddle")
    options = ["--parts", "limit", "photos", "default", "--rounds", "1", "--seconds", "0.5"]
    options += ["--tune-seconds", "5", "--pictures", "4", "--work", str(tmp_path / "work")]
    # What is held depends on the machine; that nothing is lost does not.
    assert main(["targets", *options]) in (0, 1)
    shown = " ".join(capsys.readouterr().out.split())
    assert "tuned to" in shown
    assert "untuned over paddle, 16 connections" in shown
    assert "decoding in full over fast_decode" in shown
    assert "not measured" not in shown
