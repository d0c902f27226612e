"""Numbers, texts, flat lists and flat tables as Python prints them.

`ast.literal_eval` makes a tree first, which takes 500 bytes for each byte of text.
"""

from __future__ import annotations

import re

from bundle.yaml_bounds import MAX_VALUES

LONGEST = 4 << 20
_TOKEN = re.compile(
    r"""\s*([\[({\])},:]|-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?![0-9.])"""
    r"""|'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")\s*""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(00[01][0-9a-f]{5})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r"}

Scalar = int | float | str


def read_python_text(text: str) -> Scalar | list[Scalar] | dict[Scalar, Scalar] | None:
    """The value that a text stands for; None if it is of another kind, too long, or damaged."""
    tokens: list[str] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or len(text) > LONGEST or len(tokens) > 4 * MAX_VALUES:
            return None
        tokens.append(found[1])
        at = found.end()
    try:
        return _value(tokens)
    except ValueError:
        return None


def _value(tokens: list[str]) -> Scalar | list[Scalar] | dict[Scalar, Scalar]:
    if len(tokens) == 1:
        return _scalar(tokens[0])
    brackets, inner = "".join([*tokens[:1], *tokens[-1:]]), tokens[1:-1]
    if inner[-1:] == [","]:
        inner.pop()
    if brackets in ("[]", "()"):
        _expect(inner[1::2], ",")
        return [_scalar(token) for token in inner[::2]]
    if brackets != "{}":
        raise ValueError(brackets)
    _expect(inner[1::4], ":")
    _expect(inner[3::4], ",")
    keys, values = inner[::4], inner[2::4]
    return {_scalar(key): _scalar(value) for key, value in zip(keys, values, strict=True)}


def _expect(tokens: list[str], wanted: str) -> None:
    if any(token != wanted for token in tokens):
        raise ValueError(wanted)


def _scalar(token: str) -> Scalar:
    if token[0] in "'\"":
        return _ESCAPE.sub(_unescaped, token[1:-1])
    return float(token) if "." in token else int(token)


def _unescaped(found: re.Match[str]) -> str:
    number = found[1] or found[2] or found[3]
    if number:
        code = int(number, 16)
        return chr(code) if code <= 0x10FFFF else found[0]
    return _SHORT.get(found[4], found[4])
