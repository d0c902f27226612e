"""The fuzz targets over seeds, mutations of them and made-up bytes; atheris is not needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzz_targets import TARGETS

# The same examples at every run: a find is a failure that stays.
bounded = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
@bounded
@given(data=st.data())
def test_any_bytes_pass(name: str, data: st.DataObject) -> None:
    TARGETS[name].run(data.draw(st.binary(max_size=400)))


@pytest.mark.parametrize("name", TARGETS)
@bounded
@given(data=st.data())
def test_damaged_seeds_pass(name: str, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(TARGETS[name].seeds())))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(seed)))
        how = data.draw(st.sampled_from(("set", "cut", "insert", "repeat")))
        if how == "set" and where < len(seed):
            seed[where] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del seed[where : where + data.draw(st.integers(1, 40))]
        elif how == "insert":
            seed[where:where] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            seed[where:where] = seed[:where][-30:]
    TARGETS[name].run(bytes(seed))
