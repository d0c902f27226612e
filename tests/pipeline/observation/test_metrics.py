"""Buckets that reach the longest timeout, and labels of services and of keys that are bounded."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.engine.report import BatchReport
from pipeline.observation.metrics import Metrics


def bounds(metrics: Metrics, name: str = "serving_request_duration_seconds") -> list[float]:
    metrics.request_done("waste", "http", "ok", 45.0)
    metrics.batch_done("waste", BatchReport([45.0], [], 45.0, {"decode": 45, "predict": 45}))
    return [
        float(sample.labels["le"])
        for family in metrics.registry.collect()
        if family.name == name
        for sample in family.samples
        if "le" in sample.labels
    ]


@pytest.mark.parametrize(
    ("longest_s", "last"),
    [
        (0.0, [5, 10]),
        (10.0, [5, 10]),
        (12.0, [10, 12]),
        (20.0, [10, 20]),
        (60.0, [20, 30, 60]),
        (100.0, [60, 100]),
        (86_400.0, [7200, 86_400]),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "serving_request_duration_seconds",
        "serving_queue_wait_seconds",
        "serving_decode_duration_seconds",
        "serving_predict_duration_seconds",
    ],
)
def test_buckets_reach_the_longest_timeout(longest_s: float, last: list[float], name: str) -> None:
    found = bounds(Metrics("1", longest_s), name)
    assert found[0] == 0.002
    assert found == sorted(set(found))
    assert found[-1] == float("inf")
    assert found[-1 - len(last) : -1] == last


def test_a_longer_timeout_of_a_reload_gets_its_bucket_and_a_shorter_one_takes_none_away() -> None:
    metrics = Metrics("1", 60.0)
    metrics.request_done("waste", "http", "ok", 45.0)
    metrics.reach(90.0)
    assert bounds(metrics)[-4:-1] == [30, 60, 90]
    metrics.reach(30.0)
    assert bounds(metrics)[-4:-1] == [30, 60, 90]
    assert b"# HELP serving_request_duration_seconds" in metrics.exposition()


def test_names_of_keys_are_bounded(metrics: Any) -> None:
    for number in range(1000):
        metrics.keyed_request_done(f"caller {number}", "waste", "ok")
    metrics.keyed_request_done("caller 7", "waste", "rate_limited")
    samples = {
        (s.labels["key"], s.labels["outcome"]): s.value
        for family in metrics.registry.collect()
        if family.name == "serving_api_key_requests"
        for s in family.samples
    }
    assert samples[("caller 7", "ok")] == samples[("caller 7", "rate_limited")] == 1
    assert samples[("other", "ok")] == 800
    assert len(samples) == 202
