from __future__ import annotations

import ast

import pytest

from converter.describing.python_text import LONGEST, read_python_text
from converter.describing.values import labels_by_number


@pytest.mark.parametrize(
    "value",
    [
        3,
        -1,
        [224, 224],
        {0: "tench, Tinca tinca", 1: "jack-o'-lantern", 2: "a \"b\" 'c'", 3: "a: {b}, [c] (d)"},
        {0: "猫\n\t\\n", 1: "\x1b[31m", 2: "\u202e", 3: "\U000e0001", 4: ""},
        ["a", 1],
        -2.5,
        "classify",
        {},
        [],
    ],
)
def test_what_python_prints_is_read_as_python_reads_it(value: object) -> None:
    assert read_python_text(repr(value)) == ast.literal_eval(repr(value))


def test_a_tuple_is_a_list() -> None:
    assert read_python_text("(224, 224)") == [224, 224]
    assert read_python_text("(224,)") == [224]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "classify",
        "[[1]]",
        "{0: 'a'",
        "{0: 'a', 1}",
        "[1 2]",
        "1.5.2",
        "1e5",
        "9" * 5000,
        "'a",
        "__import__('os')",
        "(" * 100_000,
        "-" * 100_000 + "1",
        " " * (LONGEST + 1) + "1",
        "'" + "\\'" * 1_000_000,
        "[" + "1," * 1_000_000 + "]",
    ],
    ids=lambda text: text[:8],
)
def test_anything_else_is_not(text: str) -> None:
    assert read_python_text(text) is None


def test_the_names_of_22k_classes() -> None:
    names = {number: f"class {number}'s" for number in range(21_841)}
    assert labels_by_number(read_python_text(repr(names)), "names") == tuple(names.values())
