from __future__ import annotations

import json

import pytest

from protocol.escaping import LONGEST_EXCERPT, escaped, escaped_line, excerpt

HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202egnp.exe \u2028 \x7f \r end"


@pytest.mark.parametrize("make", [escaped, escaped_line, excerpt])
def test_nothing_reaches_a_terminal_that_it_would_act_on(make: object) -> None:
    text = make(HOSTILE)  # type: ignore[operator]
    assert text.isprintable()
    assert "owned" in text


def test_an_escape_is_that_of_json_and_ordinary_text_is_as_it_was() -> None:
    assert json.loads(f'"{escaped(HOSTILE)}"') == HOSTILE
    assert escaped("可回收物/易拉罐\té") == "可回收物/易拉罐\té"
    assert escaped(escaped(HOSTILE)) == escaped(HOSTILE)


def test_one_line_has_no_newline_and_no_tab() -> None:
    assert escaped("a\n\tb") == "a\n\tb"
    assert escaped_line("a\n\tb\r\n") == "a\\u000a\\u0009b\\u000d\\u000a"


@pytest.mark.parametrize("sent", ["x" * 10**6, b"x" * 10**6, "\x1b" * 10**6, b"\xff\x00" * 10**6])
def test_an_excerpt_is_short_whatever_was_sent(sent: str | bytes) -> None:
    text = excerpt(sent)
    assert len(text) <= LONGEST_EXCERPT + len("'...'")
    assert text.endswith("...'")


def test_an_excerpt_of_something_short_is_whole() -> None:
    assert excerpt(b"<html>\n") == "'<html>\\u000a'"
    assert excerpt("") == "''"
