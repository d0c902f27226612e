"""How many processes read images unless the command line says it."""

from __future__ import annotations

import pytest

from pipeline.settings.machine import Machine
from tools.datasets.workers import default_jobs


@pytest.mark.parametrize(("cores", "jobs"), [(0.5, 1), (1.5, 1), (6.0, 6)])
def test_the_quota_of_a_container_limits_the_jobs(
    monkeypatch: pytest.MonkeyPatch, cores: float, jobs: int
) -> None:
    monkeypatch.setattr(Machine, "cores", lambda _self: cores)
    assert default_jobs() == jobs
