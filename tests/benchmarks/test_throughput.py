from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from protocol.key_value.received import reply_from_json
from protocol.key_value.reply import reply_to_json
from protocol.reply import Category, ClassifyReply

pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")

from benchmarks.images import image_files
from benchmarks.load import Checker
from benchmarks.throughput import Measured, Plan, Throughput, run


@pytest.mark.slow
def test_a_short_run_measures_every_scenario_and_checks_every_answer(root: Path) -> None:
    plan = Plan(
        config=root / "configs" / "waste.yml",
        bundle=root / "serving_model" / "waste",
        service="waste",
        images=image_files(root / "examples" / "images", 4),
        workers=1,
        rounds=1,
        seconds=0.5,
        connections=(2,),
        batches=(1, 4),
    )
    console = Console(record=True, width=100)
    throughput = run(plan, console)
    measured = throughput.measured
    assert set(measured) == {("raw", 2), ("http", 2), ("rpc", 2)}
    assert set(throughput.bare) == {("auto", 1), ("auto", 4)}
    for result in measured.values():
        (outcome,) = result.outcomes
        assert outcome.requests_per_s > 0
        assert (outcome.wrong, outcome.failed, outcome.errors) == (0, 0, [])
    shown = console.export_text()
    assert "limit, one by one" in shown
    assert "0 wrong, 0 failed" in shown


def test_a_ratio_is_against_the_best_limit_of_the_same_round() -> None:
    slow, fast = [100.0, 50.0, 100.0], [120.0, 80.0, 160.0]
    result = Measured(rates=[50.0, 60.0])
    bare = {("a", 1): slow, ("b", 4): fast}
    throughput = Throughput(bare, {("raw", 16): result}, start_s=1.0, memory_mib=1.0)
    throughput.set_ratios()
    assert throughput.best == ("b", 4)
    assert result.ratios == [0.5, 0.5]


def test_a_wrong_answer_is_seen() -> None:
    answers = [[0.9, 0.1], [0.2, 0.8]]
    checker = Checker(answers, reply_from_json, 1e-4)

    def body(class_id: int, score: float) -> bytes:
        return reply_to_json(ClassifyReply(((Category(class_id, "x", score),),)))

    assert checker.right(0, body(0, 0.9))
    assert checker.right(0, body(0, 0.9))
    assert not checker.right(1, body(0, 0.9))
    assert not checker.right(0, body(1, 0.1))
    assert not checker.right(0, body(0, 0.91))
    assert json.loads(body(0, 0.9))["err_no"] == 0
