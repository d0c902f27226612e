from __future__ import annotations

import ast

import pytest

from protocol.key_value.python_text import LONGEST_TEXT, read_list


@pytest.mark.parametrize(
    "entries",
    [
        [],
        ["daisy"],
        ["it's", 'a "b"', "both ' and \"", "back\\slash", "new\nline\ttab\r\0"],
        ["可回收物/易拉罐", "\x1b[31m", "\u202e", "😀", "\U000e0001"],
        [0.9341402053833008, 1e-07, -3, 0, 12, 1e22],
        [None],
    ],
)
def test_what_python_writes_is_read(entries: list[object]) -> None:
    assert read_list(str(entries), 10) == entries == ast.literal_eval(str(entries))
    assert read_list(str(tuple(entries)), 10) == entries
    assert read_list(ascii(entries), 10) == entries


def test_what_json_writes_is_read() -> None:
    assert read_list(r'["\ud83d\ude00 a\/b", null, 0.5]', 3) == ["😀 a/b", None, 0.5]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[1", "['a", "['a'", "[1,,2]", "[,]", "[1 2]", "[1](", "[1]]", "'a'", "{}", "5"),
        *(
            "[[1]]",
            "[{}]",
            "[a]",
            "[nan]",
            "[inf]",
            "[1e999]",
            "[--1]",
            "[1_0]",
            "[0x1]",
            "[1.2.3]",
        ),
        *("[True]", "[b'a']", "['\\q']", "['a\nb']", "['\\U00110000']", "['\\x4']", "['a' 'b']"),
        *("[Nonesuch]", "[" * 10**6, "[" + "9" * 10**6 + "]", "[" + "-" * 10**6, "(1]"),
        "['" + "a" * LONGEST_TEXT + "']",
    ],
)
def test_anything_else_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"list|out of range") as caught:
        read_list(text, 10)
    assert len(str(caught.value)) < 200


def test_entries_are_counted() -> None:
    assert len(read_list("[1,2,3]", 3)) == 3
    with pytest.raises(ValueError, match="more than 3 entries"):
        read_list("[1,2,3,4" + "]" * 9, 3)
