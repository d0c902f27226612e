"""The keys and values of one config.yml, with overrides on top, each checked against the table.

file -> mapping -> overrides -> every key checked -> values with defaults, one warning
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bundle import BundleError
from bundle.strict_yaml import parse_yaml, read_yaml

from .errors import ConfigError
from .keys import TOP, Key, Section
from .paths import Places


@dataclass(frozen=True, slots=True)
class ConfigTree:
    """A configuration whose keys and values are each of the right kind.

    Attributes:
        path: of the file as it was given; errors name it.
        places: where its relative paths are looked for.
        given: the keys that the file and the overrides have.
        values: every key of the table, with its default where it is not given.
        warning: names the keys that are accepted without effect; None if there are none.
    """

    path: Path
    places: Places
    given: Mapping[str, Any]
    values: Mapping[str, Any]
    warning: str | None

    def find(self, name: str, key: str) -> Path:
        """Return the real path of a file or folder that exists; see `settings.paths`.

        Raises:
            ConfigError: there is none; `key` says which key has the name.
        """
        found = self.places.find(name, key)
        if found is None:
            raise ConfigError(f"{self.path}: {key}: {self.places.missing(name)}")
        return found


def read_tree(path: Path, overrides: Sequence[str], places: Places | None = None) -> ConfigTree:
    """Read `path`, apply `overrides` ("op.waste.concurrency=4"), and check every key.

    Raises:
        ConfigError: with the file, the key, and what it should be.
    """
    places = places or Places(path)
    given = _read(places.file, path)
    for override in overrides:
        _apply(given, override)
    values = _checked(given, TOP, "", str(path))
    ignored = tuple(_without_effect(given, TOP, ""))
    if not ignored:
        return ConfigTree(path, places, given, values, None)
    reasons = "; ".join(f"{name}: {why}" for name, why in ignored)
    warning = f"{path}: accepted without effect ({reasons})"
    return ConfigTree(path, places, given, values, warning)


def _read(file: Path, path: Path) -> dict[str, Any]:
    """Return the keys of `file`, which was given as `path`."""
    try:
        tree = read_yaml(file)
    except BundleError as error:
        # The error names the real file; a user knows it by the name that was given.
        raise ConfigError(str(error).replace(str(file), str(path))) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys such as http_port and op")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=VALUE` in the tree; VALUE is read as YAML."""
    name, equals, raw = override.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"-o {override}: write KEY=VALUE, for example -o op.waste.concurrency=4")
    try:
        value = parse_yaml(raw, override)
    except BundleError as error:
        raise ConfigError(f"-o {override}: the value is not YAML") from error
    if parts[0] == "op" and len(parts) > 2 and parts[1] not in (tree.get("op") or {}):
        known = ", ".join(tree.get("op") or {})
        raise ConfigError(f"-o {override}: no service {parts[1]!r}; there are: {known}")
    for part in parts[:-1]:
        child = tree.setdefault(part, {})
        if child is None:
            child = tree[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"-o {override}: {part} holds a value, not keys")
        tree = child
    tree[parts[-1]] = value


def _checked(tree: Mapping[str, Any], section: Section, prefix: str, source: str) -> dict[str, Any]:
    """Return the section's values with defaults filled in; raise at the first wrong one."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if "*" not in section and name not in section:
            raise ConfigError(_unknown_key(prefix, str(name), section, source))
        known = section.get(str(name), section.get("*"))
        if not isinstance(known, Key):
            values[str(name)] = _subsection(value, cast(Section, known), f"{prefix}{name}", source)
        elif known.no_effect is None:
            _check_value(known, f"{prefix}{name}", value, source)
    for name, known in section.items():
        if name == "*":
            continue
        if not isinstance(known, Key):
            values.setdefault(name, _checked({}, known, f"{prefix}{name}.", source))
        else:
            values[name] = tree.get(name, known.default)
    return values


def _subsection(value: object, section: Section, name: str, source: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{source}: {name} must hold keys, not {value!r}")
    return _checked(value or {}, section, f"{name}.", source)


def _check_value(known: Key, name: str, value: object, source: str) -> None:
    wanted = known.check(value)
    if wanted is not None:
        raise ConfigError(f"{source}: {name} must be {wanted}, not {value!r}")
    if known.refused_unless is not None and value not in known.refused_unless:
        raise ConfigError(
            f"{source}: {name}: {value!r} is not served by this engine ({known.meaning}); "
            "take the key out, or stay with the official engine for this service"
        )


def _unknown_key(prefix: str, name: str, section: Section, source: str) -> str:
    for inner, known in section.items():
        if not isinstance(known, Key) and name in known:
            place = re.sub(r"^op\.[^.]+", "op.<service>", f"{prefix}{inner}")
            hint = f"it belongs in {place}; check the indentation"
            return f"{source}: unknown key {prefix}{name}; {hint}"
    close = difflib.get_close_matches(name, section, n=1, cutoff=0.5)
    hint = f"; did you mean {prefix}{close[0]}?" if close else f"; known: {', '.join(section)}"
    return f"{source}: unknown key {prefix}{name}{hint}"


def _without_effect(
    tree: Mapping[str, Any], section: Section, prefix: str
) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        known = section.get(str(name), section.get("*"))
        if isinstance(known, Key):
            if known.no_effect is not None:
                yield f"{prefix}{name}", known.no_effect
        elif known is not None and isinstance(value, dict):
            yield from _without_effect(value, known, f"{prefix}{name}.")
