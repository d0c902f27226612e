"""The names of a request's options, and what to write in place of one that is none.

An option under another name must not pass in silence: the caller would get the service's own
setting, and never know.

Kept clean for Python 3.8: the official engine's ops read the same keys.
"""

from __future__ import annotations

import difflib
import re
from typing import Iterable

from .errors import InvalidRequest

TOPK = "topk"
THRESHOLD = "threshold"
LOG_ID = "logid"
FORM = "form"
PROFILE = "pipeline.profile"  # requests profile data of 0.9; accepted, and no image
# Among the keys of the envelope.
OPTION_KEYS = frozenset({TOPK, THRESHOLD, PROFILE})
KEY_RULE = "every key but topk and threshold is an image"
# In the address, and as fields of an upload or a form.
_NAMED = (TOPK, THRESHOLD, LOG_ID, FORM)
_ACCEPTED = frozenset({*_NAMED, "log_id"})
_LIKELY = 0.6
_LONGEST_NAME = 40


def check_key(key: str) -> None:
    """Check a key of the envelope that is none of `OPTION_KEYS`.

    Raises:
        InvalidRequest: it is an option in another spelling, or one that stands elsewhere.
    """
    plain = _plain(key)
    if plain in (TOPK, THRESHOLD):
        raise InvalidRequest("the key {!r} is no option; write {!r}".format(key[:40], plain))
    if plain == LOG_ID:
        raise InvalidRequest('logid stands beside "key" and "value", not among the keys')


def check_field(name: str) -> None:
    """Check the name of a field that stands beside `key` and `value` and is skipped.

    Raises:
        InvalidRequest: it is an option, which counts among the keys only.
    """
    plain = _plain(name)
    if plain in (TOPK, THRESHOLD):
        raise InvalidRequest(
            '{!r} stands beside "key" and "value"; put it among them: '
            '{{"key": ["image", "{}"], "value": ["<base64>", "..."]}}'.format(name[:40], plain)
        )


def check_query(names: Iterable[str]) -> None:
    """Check the names that stand in an address; those that begin with _ are left to others.

    Raises:
        InvalidRequest: one is no option; the text has the nearest.
    """
    for name in names:
        if not (is_option(name) or name.startswith("_")):
            raise InvalidRequest(
                "the address has the parameter {!r}, which is no option{}".format(
                    name[:40], _hint(name)
                )
            )


def is_option(name: str) -> bool:
    """Return whether an address, an upload or a form may have an option of that name."""
    return name in _ACCEPTED


def field_error(name: str, value: str, reason: str) -> InvalidRequest:
    """Return the error for a field of an upload or a form that is no option and no image.

    `reason` says why it is no base64; it is "" for a value that is too short to be an image.
    """
    if reason:
        return InvalidRequest(
            "the field {!r} is no image in base64: {}; send the image as a file, with curl "
            "-F image=@a.jpg".format(name[:40], reason)
        )
    return InvalidRequest(
        "the field {!r} ({}) is no option{}".format(name[:40], value, _hint(name))
    )


def _hint(name: str) -> str:
    close = difflib.get_close_matches(_plain(name[:40]), _NAMED, 1, _LIKELY)
    mean = "did you mean {}?".format(close[0]) if close else "leave it out"
    return "; {} (options: {})".format(mean, ", ".join(_NAMED))


def _plain(name: str) -> str:
    """Return the name without case and signs; "" for a long one, which means no option."""
    if len(name) > _LONGEST_NAME:
        return ""
    return re.sub(r"[\W_]", "", name).lower()
