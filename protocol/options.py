"""The options of a request, checked: written as text in a query string, or as JSON has them."""

from __future__ import annotations

from .errors import InvalidRequest


def read_topk(value: object) -> int | None:
    """Return a whole number of at least 1; None where the caller leaves it open.

    Raises:
        InvalidRequest: it is something else.
    """
    if value is None or value == "":
        return None
    try:
        topk = _whole(value)
    except ValueError:
        topk = -1
    if isinstance(value, bool) or topk < 1:
        raise InvalidRequest(f"topk must be a whole number of at least 1, got {shown(value)}")
    return topk


def read_threshold(value: object) -> float | None:
    """Return a number from 0 to 1; None where the caller leaves it open.

    Raises:
        InvalidRequest: it is something else.
    """
    if value is None or value == "":
        return None
    try:
        threshold = float(_number(value)) if isinstance(value, (str, int, float)) else -1.0
    except ValueError:
        threshold = -1.0
    if isinstance(value, bool) or not 0.0 <= threshold <= 1.0:
        raise InvalidRequest(f"threshold must be a number from 0 to 1, got {shown(value)}")
    return threshold


def read_log_id(value: object) -> int:
    """Return a whole number of 64 bits; 0 where the caller gives none.

    Raises:
        InvalidRequest: it is something else.
    """
    if value is None or value == "":
        return 0
    try:
        log_id: int | None = _whole(value)
    except ValueError:
        log_id = None
    if log_id is None or isinstance(value, bool) or not -(2**63) <= log_id < 2**63:
        raise InvalidRequest(f"logid must be a whole number of 64 bits, got {shown(value)}")
    return log_id


def _whole(value: object) -> int:
    if not isinstance(value, (str, int)):
        raise ValueError
    return int(_number(value))


def _number(value: float | str) -> str:
    """Return the text of a number, without what Python alone reads: 1_0, digits of other scripts.

    Raises:
        ValueError: it has one of them.
    """
    text = str(value)
    if "_" in text or not text.isascii():
        raise ValueError
    return text


def shown(value: object) -> str:
    """Return what stands in a message for what the caller wrote: at most 40 characters."""
    text = repr(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "..."
