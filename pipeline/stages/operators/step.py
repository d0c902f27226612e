"""What an operator builds of its options: a step from array to array; and checks of options."""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np

from ..errors import PreprocessError
from .number import whole

# One image in, one image out: [H, W, C], after ToCHWImage [C, H, W].
Step = Callable[[np.ndarray], np.ndarray]


def pair(value: Any, what: str) -> Tuple[int, int]:  # noqa: ANN401 - YAML
    """Read a size: one number, or [width, height]; `what` names it in errors."""
    numbers = [value, value] if isinstance(value, int) else value
    good = isinstance(numbers, (list, tuple)) and len(numbers) == 2
    if not good or not all(isinstance(n, int) and n > 0 and n is not True for n in numbers):
        raise PreprocessError("{} must be a size or [width, height], not {!r}".format(what, value))
    return whole(numbers[0], what), whole(numbers[1], what)
