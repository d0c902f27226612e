"""Published vulnerabilities of Python packages, read from a folder of OSV files.

The advisory databases of PyPA (YAML) and of GitHub (JSON) are such folders, as is an export of OSV.
Versions are compared as https://ossf.github.io/osv-schema says, in the order of PEP 440: a
pre-release of the fixed version still has the fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

# Every scalar as text: YAML would read the version 1.10 as a number.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_MODIFIED = re.compile(r"(?:^|[{,])\s*\"?modified\"?\s*:\s*['\"]?(\d{4}-\d\d-\d\d)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Advisory:
    """A vulnerability of some versions of `package` (its canonical name)."""

    package: str
    number: str
    aliases: tuple[str, ...]
    versions: frozenset[str]
    ranges: tuple[tuple[tuple[str, str], ...], ...]

    def affects(self, version: str) -> bool:
        """Whether a version is listed or in a range.

        Raises:
            ValueError: a version, this one or one of the advisory, is none of PEP 440.
        """
        # 2.1+cpu is a build of 2.1: it is beyond no last_affected of 2.1.
        public = Version(Version(version).public)
        if any(_is(public, listed) for listed in self.versions):
            return True
        try:
            return any(_in_range(public, events) for events in self.ranges)
        except InvalidVersion as error:
            raise ValueError(f"{self.number} of {self.package}: {error}") from error

    @property
    def fixed(self) -> tuple[str, ...]:
        """The versions that end a range."""
        return tuple(at for events in self.ranges for kind, at in events if kind == "fixed")

    def __str__(self) -> str:
        names = f"{self.number} ({', '.join(self.aliases)})" if self.aliases else self.number
        return f"{names}; fixed in {', '.join(self.fixed) or 'no version yet'}"


@dataclass(frozen=True, slots=True)
class Database:
    """What a folder has of some packages; `newest` is the date of the last change in it."""

    advisories: tuple[Advisory, ...]
    files: int
    newest: str


def read_database(folder: Path, packages: Collection[str]) -> Database:
    """Return the advisories of `packages` (canonical names) in a folder of OSV files.

    Raises:
        OSError: the folder or a file cannot be read.
        ValueError: there is no OSV file in it, or one of these packages cannot be parsed.
    """
    # Most of the database is about other packages, and parsing YAML is slow. A name may be spelled
    # with any of - _ . between its parts.
    spelled = "|".join(re.escape(name).replace(r"\-", "[-_.]+") for name in sorted(packages))
    named = re.compile(
        rf"[\"']?\bname\b[\"']?\s*:\s*[\"']?(?:{spelled})[\"']?\s*(?:,|\}}|$)", re.I | re.M
    )
    found: list[Advisory] = []
    files, newest = 0, ""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".yaml", ".json"}:
            continue
        text = path.read_text(encoding="utf-8")
        modified = _MODIFIED.search(text)
        if modified is None:
            continue
        files, newest = files + 1, max(newest, modified[1])
        if named.search(text):
            found += _parsed(path, text, packages)
    if not files:
        raise ValueError(
            f"{folder} has no OSV file (*.yaml, *.json); give a checkout of an advisory database"
        )
    return Database(tuple(found), files, newest)


def _parsed(path: Path, text: str, packages: Collection[str]) -> list[Advisory]:
    try:
        record = yaml.load(text, _LOADER)  # noqa: S506 - it makes text only
        return [one for one in _advisories(record) if one.package in packages]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no OSV file: {type(error).__name__}: {error}") from error


def _advisories(record: dict[str, Any]) -> Iterator[Advisory]:
    """The advisories of an OSV record, one of each package; none if it was withdrawn."""
    if "withdrawn" in record:
        return
    for affected in record.get("affected", ()):
        if affected["package"]["ecosystem"] != "PyPI":
            continue
        yield Advisory(
            package=canonicalize_name(affected["package"]["name"]),
            number=record["id"],
            aliases=tuple(record.get("aliases", ())),
            versions=frozenset(affected.get("versions", ())),
            ranges=tuple(
                tuple((kind, at) for event in one["events"] for kind, at in event.items())
                for one in affected.get("ranges", ())
                if one["type"] == "ECOSYSTEM"
            ),
        )


def _is(version: Version, listed: str) -> bool:
    """Whether a listed version is this one; some of old packages are none of PEP 440."""
    try:
        return version == Version(listed)
    except InvalidVersion:
        return False


def _in_range(version: Version, events: tuple[tuple[str, str], ...]) -> bool:
    """Whether the last event up to a version is that the fault came in.

    "0" is before every version, even 0.dev1.
    """
    inside = False
    known = [event for event in events if event[0] in {"introduced", "fixed", "last_affected"}]
    for kind, at in sorted(known, key=lambda event: (event[1] != "0", Version(event[1]))):
        if kind == "introduced":
            inside = inside or at == "0" or version >= Version(at)
        elif kind == "fixed":
            inside = inside and version < Version(at)
        else:
            inside = inside and version <= Version(at)
    return inside
