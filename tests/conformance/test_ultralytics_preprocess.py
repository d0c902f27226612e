"""The preset of Ultralytics beside its own transforms for classification, bit for bit."""

from __future__ import annotations

import pytest

from converter.describing.presets import preset
from tests.conformance.frameworks import Case, Frameworks, check_recorded, compare_or_record

CASES = [
    Case("ultralytics", "ultralytics", {}),
    Case("ultralytics-64", "ultralytics", {"size": 64}),
    Case("ultralytics:size=640", "ultralytics", {"size": 640}),
    Case("ultralytics:size=96,160", "ultralytics", {"size": [96, 160]}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ultralytics_as_recorded(case: Case) -> None:
    operators = preset(case.name)
    assert operators is not None
    check_recorded(case, operators)


@pytest.mark.slow
def test_ultralytics_itself_gives_what_is_recorded(frameworks: Frameworks) -> None:
    compare_or_record(frameworks, CASES)
