"""Numbers of a description: written plainly, or as a small sum that PaddleClas evaluates."""

from __future__ import annotations

import ast
import math
import operator
from typing import Any, List

from ..errors import PreprocessError

# Longer than any scale; the parser's time and depth grow with the text.
_LONGEST = 64

# Of float32, which models are fed with; comparisons with nan are false.
_LARGEST = 3.4028234663852886e38
# Beyond any size of an image, so that products of them stay small.
_MOST_PIXELS = 100_000_000

_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def number(value: Any, what: str) -> float:  # noqa: ANN401 - YAML
    """Read 0.0039, "1/255", "1./255." or "(1.0 / 255)"; nothing but numbers is evaluated.

    Raises:
        PreprocessError: it is no finite number; `what` names it.
    """
    try:
        result = _sum(value)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        result = math.nan
    if not abs(result) <= _LARGEST:
        raise PreprocessError(
            "{} is a finite number or a fraction such as 1.0/255.0, not {!r}".format(what, value)
        )
    return result


def levels(value: Any, what: str) -> List[float]:  # noqa: ANN401 - YAML
    """Read one number for all channels, or a list with one for each.

    Raises:
        PreprocessError: it is neither; `what` names it.
    """
    numbers = list(value) if isinstance(value, (list, tuple)) else [value]
    if not numbers or not all(_is_number(each) and abs(each) <= _LARGEST for each in numbers):
        raise PreprocessError(
            "{} is a number, or a list with one for each channel, not {!r}".format(what, value)
        )
    return [float(each) for each in numbers]


def whole(value: Any, what: str, least: int = 1) -> int:  # noqa: ANN401 - YAML
    """Read a whole number of at least `least`.

    Raises:
        PreprocessError: it is none; `what` names it.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PreprocessError(
            "{} is a whole number from {} on, not {!r}".format(what, least, value)
        )
    if value > _MOST_PIXELS:
        raise PreprocessError("{} is at most {:,}".format(what, _MOST_PIXELS))
    return value


def switch(value: Any, what: str) -> bool:  # noqa: ANN401 - YAML
    """Read true or false.

    Raises:
        PreprocessError: it is neither; `what` names it.
    """
    if not isinstance(value, bool):
        raise PreprocessError("{} is true or false, not {!r}".format(what, value))
    return value


def _is_number(value: Any) -> bool:  # noqa: ANN401 - YAML
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sum(value: Any) -> float:  # noqa: ANN401 - YAML
    if _is_number(value):
        return float(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(value)
    return _value(ast.parse(value.strip(), mode="eval").body)


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and _is_number(node.value):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        operand = _value(node.operand)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return float(_OPERATIONS[type(node.op)](_value(node.left), _value(node.right)))
    raise ValueError(node)
