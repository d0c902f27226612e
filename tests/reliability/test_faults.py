"""The trials beside Paddle Serving 0.9: what they count is right, and they run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Overloaded, ServingError, UnreadableReply
from protocol.key_value.reply import error_to_json, reply_to_json
from protocol.reply import Category, ClassifyReply
from reliability.faults.__main__ import main, markdown
from reliability.faults.callers import Callers, Counts, err_no
from reliability.faults.findings import Finding, longest_gap, summary
from reliability.faults.inputs import Inputs
from reliability.faults.services import OFFICIAL, OURS, Subject

BEST = [("cat", 0.9), ("dog", 0.8), ("cat", 0.5)]


@pytest.fixture
def callers(tmp_path: Path) -> Any:
    inputs = Inputs(tmp_path, tmp_path, [b"one", b"two", b"three"], BEST)
    nowhere: Any = None
    return Callers(Subject(OURS, 1, 2, nowhere, list), inputs)


def reply(label: str, score: float) -> bytes:
    return reply_to_json(ClassifyReply(((Category(0, label, score),),)))


def test_replies_are_judged(callers: Any) -> None:
    old = {"err_no": 0, "err_msg": "", "key": ["label", "prob"], "value": ["['dog']", "[0.8]"]}
    for number, body in (
        (0, reply("cat", 0.9)),
        (1, json.dumps({**old, "tensors": []}).encode()),  # as a server of the tutorials writes it
        (0, reply("cat", 0.5)),  # the third image's
        (0, reply("cat", 0.7)),
        (0, reply_to_json(ClassifyReply(((),)))),
        (0, error_to_json(Overloaded("full"))),
        (0, b'{"error": "gone", "code": 14}'),
        (0, b"<html>"),
    ):
        callers._judge(number, body)
    counts = callers.counts
    assert (counts.right, counts.mixed_up, counts.wrong) == (2, 1, 2)
    assert counts.errors == {3004: 1, 10000: 2}
    assert counts.sent == 8


def test_numbers_that_only_0_9_knows_are_kept() -> None:
    assert err_no(ServingError("?"), b'{"err_no": 7000}') == 7000
    assert err_no(UnreadableReply("?"), b"nothing") == 10000


def test_the_summary_has_the_counts() -> None:
    assert summary(Counts(right=3)) == ("3 right, 0 lost", True)
    refused = Counts(right=3, errors=Counter({3004: 2}))
    assert summary(refused) == ("3 right, 0 lost, 2 x error 3004", True)
    assert summary(Counts(right=3, lost=1)) == ("3 right, 1 lost", False)
    assert summary(Counts(right=3, mixed_up=1)) == ("3 right, 0 lost, 1 mixed up", False)
    assert summary(Counts()) == ("0 right, 0 lost", False)


def test_the_longest_pause_is_that_after_the_fault() -> None:
    counts = Counts(right_at_s=[0.0, 5.0, 9.5, 10.5, 14.0, 14.1])
    assert longest_gap(counts, 10.0) == 3.5


def test_the_table_marks_what_was_not_tried() -> None:
    found = {"killed": {OURS: Finding("fine", good=True)}}
    assert "| a worker is killed (SIGKILL) | fine | not tried |" in markdown(found)
    found["killed"][OFFICIAL] = Finding("lost", good=False)
    assert "| fine | lost |" in markdown(found)


def test_an_unknown_trial_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["flood"])
    assert caught.value.code == 2
    assert "there is no trial flood" in capsys.readouterr().err


def test_a_request_without_a_reply_is_lost(callers: Any, unused_tcp_port: int) -> None:
    callers._subject = Subject(OURS, unused_tcp_port, 2, callers._subject.process, list)
    asyncio.run(callers.once())
    assert callers.counts.lost == callers.counts.sent == 1


@pytest.mark.slow
def test_trials_run_on_what_is_here(run_command: Callable[..., str], tmp_path: Path) -> None:
    run_command("faults", "pickle", "go-away", "body")
    found = json.loads((tmp_path / "faults.json").read_text(encoding="utf-8"))
    assert found["pickle"][OURS] == {"told": "refused; nothing ran", "good": True}
    assert found["body"][OURS]["told"].startswith("HTTP 413")
    if OFFICIAL in found["pickle"]:
        assert found["pickle"][OFFICIAL] == {"told": "the caller's code ran", "good": False}
