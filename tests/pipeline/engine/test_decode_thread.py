"""The decode thread of a worker: an image that computes for too long is given up alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.engine.decode_thread import DecodeThread
from protocol.errors import UndecodableImage
from tests.patience import PATIENCE_S

BUDGET_S = PATIENCE_S


class Steps:
    """Computes over b"spin" until it may end, waits over b"wait", and fails over b"bad"."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.threads: set[int] = set()

    def __call__(self, image: bytes) -> np.ndarray:
        self.threads.add(threading.get_ident())
        if image == b"spin":
            while not self.may_end.is_set():
                sum(range(1000))
        elif image == b"wait":
            time.sleep(0.3)
        elif image == b"bad":
            raise RuntimeError("a defect")
        return np.frombuffer(image, np.uint8)


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.may_end.set()


def texts(results: list[np.ndarray | Exception]) -> list[object]:
    return [r.tobytes() if isinstance(r, np.ndarray) else type(r) for r in results]


def test_a_batch_is_prepared_in_order_in_one_thread(steps: Steps) -> None:
    thread = DecodeThread(steps)
    for _ in range(3):
        results = texts(thread.prepared([b"a", b"bad", b"c"], BUDGET_S))
        assert results == [b"a", RuntimeError, b"c"]
    assert len(steps.threads) == 1
    assert threading.get_ident() not in steps.threads
    assert thread.prepared([], BUDGET_S) == []


def test_an_image_over_its_budget_is_given_up_and_its_batch_goes_on(steps: Steps) -> None:
    thread = DecodeThread(steps)
    results = thread.prepared([b"a", b"spin", b"c", b"d"], budget_s=0.05)
    assert texts(results) == [b"a", UndecodableImage, b"c", b"d"]
    assert "could not be decoded within 0.05 s" in str(results[1])
    assert not thread.is_worn
    assert texts(thread.prepared([b"spin"], budget_s=0.05)) == [UndecodableImage]
    assert thread.is_worn  # two threads are left behind
    steps.may_end.set()
    deadline = time.monotonic() + PATIENCE_S
    while thread.is_worn and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not thread.is_worn
    assert texts(thread.prepared([b"z"], BUDGET_S)) == [b"z"]


def test_a_batch_leaves_no_more_threads_behind_than_two(steps: Steps) -> None:
    thread = DecodeThread(steps)
    results = thread.prepared([b"a", *[b"spin"] * 10, b"b"], budget_s=0.05)
    assert texts(results) == [b"a", UndecodableImage, UndecodableImage]
    assert len(steps.threads) == 2
    assert thread.prepared([b"c"], BUDGET_S) == []  # what is left is for the decode process


def test_time_without_computing_costs_no_image(steps: Steps) -> None:
    thread = DecodeThread(steps)
    assert texts(thread.prepared([b"wait", b"a"], budget_s=0.05)) == [b"wait", b"a"]
