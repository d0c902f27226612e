"""Whatever options an operator is given, the error is one of ours, at once or at an image."""

from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest

from pipeline.stages.errors import PreprocessError
from pipeline.stages.operators.table import OPERATORS
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 5, -1, 7, 32, 0.5, 1.5, -0.5, 1e300, float("nan"), float("inf"),
    10**400, 10**9, 255, 256, "", "abc", "1./255.", "chw", "hwc", "pil", "cv2", "bilinear", "area",
    "floor", "even", "inside", "center", "left", "constant", [], [1], [3, 4], [4, 3], [0, 0],
    [1, 2, 3], [3, 8, 16], [1, 8, 16], [0.5] * 3, [0.5] * 4, [1e300] * 3, ["a", "b"], [None] * 3,
    {}, {"a": 1}, [[1, 2], [3, 4]],
]  # fmt: skip
IMAGES = [np.full((height, width, 3), 90, np.uint8) for height, width in ((5, 7), (1, 1), (1, 90))]


def chain(chance: random.Random, first: str) -> list[dict[str, Any]]:
    """Up to three operators, each with up to three options of any value."""
    steps = []
    for name in (first, *chance.choices(list(OPERATORS), k=chance.choice((0, 0, 1, 2)))):
        options = list(inspect.signature(OPERATORS[name].build).parameters)
        chosen = chance.sample(options, chance.randint(0, min(3, len(options))))
        steps.append({name: {option: chance.choice(VALUES) for option in chosen}})
    return steps


@pytest.mark.parametrize("name", list(OPERATORS))
def test_any_value_of_any_option_is_carried_out_or_refused(name: str) -> None:
    chance = random.Random(name)
    for _ in range(400):
        steps = chain(chance, name)
        try:
            prepare = build_preprocess(steps)
            for image in IMAGES:
                with_error(prepare, image)
        except PreprocessError:
            pass
        except Exception as error:
            raise AssertionError(f"{error!r}: {steps}") from error


def with_error(prepare: Any, image: np.ndarray) -> None:
    try:
        array = prepare(image)
    except (ServingError, PreprocessError):
        return
    assert array.dtype == np.float32
    assert array.ndim == 3
