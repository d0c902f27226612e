"""API keys: which callers are admitted, and at which rate; from a file or the environment.

    phone-app: 5f0c...              a key, of 16 characters or more
    night-batch:                    or with a rate
      key: 9a41...
      rate: 20                      images a second
      burst: 200                    images at once; ten seconds of the rate if left out

Of a key only its SHA-256 is kept, so that none can be read out of the process, a log or a message.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle import BundleError
from bundle.strict_yaml import parse_yaml

ENVIRONMENT = "PADDLE_SERVING_KIT_API_KEYS"
SHORTEST = 16
_BURST_S = 10.0
_FORM = "write one `name: key` a line, or `name: {key: ..., rate: images a second}`"

# The keys that `hide_environment` found, or their error. Empty until it finds some.
_hidden: list[tuple[ApiKey, ...] | str] = []


class ApiKeysError(Exception):
    """One line says what is wrong with the keys, without any of them."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One caller; `rate` in images a second, None without a limit, `burst` in images."""

    name: str
    digest: bytes = field(repr=False)
    rate: float | None = None
    burst: float = 0.0


def read_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a file of keys.

    Raises:
        ApiKeysError: it cannot be read, or has an entry that is no key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ApiKeysError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ApiKeysError(f"{path} is not UTF-8 text") from error
    return parse_api_keys(text, str(path))


def hide_environment() -> None:
    """Take the keys out of the environment; their hashes are kept for `environment_keys`.

    Then no process that this one starts has them, and no dump of `os.environ`. The kernel goes on
    showing the environment that the process was started with in /proc/PID/environ, to its own user
    and to root: a file of keys has no such copy.
    """
    text = os.environ.pop(ENVIRONMENT, "")
    if text.strip():
        try:
            _hidden[:] = [parse_api_keys(text, ENVIRONMENT)]
        except ApiKeysError as error:
            _hidden[:] = [str(error)]  # reported when they are needed; a file of keys may be in use


def environment_keys() -> tuple[ApiKey, ...]:
    """Return the keys of the environment, also after `hide_environment`; () without any.

    Raises:
        ApiKeysError: see `read_api_keys`.
    """
    text = os.environ.get(ENVIRONMENT, "")
    if text.strip():
        return parse_api_keys(text, ENVIRONMENT)
    for found in _hidden:
        if isinstance(found, str):
            raise ApiKeysError(found)
        return found
    return ()


def exposure(path: Path) -> str | None:
    """Return what the file's mode lets others do, and how to forbid it; None if it is private.

    A secret that is mounted into a container may usually be read by its group.
    """
    mode = path.stat().st_mode
    if mode & stat.S_IROTH:
        return f"{path} can be read by everyone on this machine; chmod 600 {path}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be changed by others than its owner; chmod go-w {path}"
    return None


def parse_api_keys(text: str, source: str) -> tuple[ApiKey, ...]:
    """Read keys from YAML text; `source` names the file or variable.

    Raises:
        ApiKeysError: see `read_api_keys`.
    """
    try:
        tree = parse_yaml(text, source, texts=True)  # a key of digits is not a number
    except BundleError as error:
        # The parser's own message would show the line, and the key in it.
        mark = getattr(error.__cause__, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ApiKeysError(f"{source} is not YAML, or has a name twice{line}; {_FORM}") from None
    if not isinstance(tree, dict) or not tree:
        raise ApiKeysError(f"{source} holds no keys; {_FORM}")
    keys = tuple(_key(str(name), value, source) for name, value in tree.items())
    if len({key.digest for key in keys}) < len(keys):
        raise ApiKeysError(f"{source}: two names have the same key; give each its own")
    return keys


def digest(key: str) -> bytes:
    """Return the hash of a key, the only form in which it is kept."""
    return hashlib.sha256(key.encode()).digest()


def _key(name: str, value: object, source: str) -> ApiKey:
    fields: Mapping[str, Any] = value if isinstance(value, dict) else {"key": value}
    unknown = set(fields) - {"key", "rate", "burst"}
    if unknown:
        raise ApiKeysError(f"{source}: {name} has an unknown field; {_FORM}")
    key = fields.get("key")
    if not isinstance(key, str) or len(key) < SHORTEST:
        raise ApiKeysError(
            f"{source}: the key of {name} has fewer than {SHORTEST} characters; "
            "make one with: openssl rand -hex 24"
        )
    if not key.isascii() or any(character.isspace() for character in key):
        raise ApiKeysError(f"{source}: the key of {name} must be ASCII without spaces")
    if "rate" not in fields:
        if "burst" in fields:
            raise ApiKeysError(f"{source}: {name} has a burst and no rate")
        return ApiKey(name, digest(key))
    rate = _positive(fields["rate"], f"{source}: the rate of {name}")
    burst = max(1.0, _BURST_S * rate)
    if "burst" in fields:
        burst = _positive(fields["burst"], f"{source}: the burst of {name}")
    return ApiKey(name, digest(key), rate, max(1.0, burst))


def _positive(value: object, what: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ApiKeysError(f"{what} must be a number above 0")
    return number
