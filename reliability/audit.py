"""`python -m reliability.audit`: whether a pinned version has a published vulnerability.

With `--pip-audit COMMAND` the data is the package index's, with `--database FOLDER` a checkout of
an advisory database. Exit code: 0 if every pin of what is served and developed with was compared
and none has a vulnerability, but those that requirements/accepted-advisories.txt gives a reason
for; 1 if one has; 2 if a pin could not be compared, or only with old data. The environments
of other projects are reported too, and do not change it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from benchmarks.bare import ROOT
from protocol.console import as_command, print_error

from .advisories import read_database

REQUIREMENTS = ROOT / "requirements"
PINS = (
    ROOT / "constraints.txt",
    REQUIREMENTS / "image.txt",
    REQUIREMENTS / "image-fast.txt",
)
OTHERS = tuple(
    REQUIREMENTS / f"{name}.txt"
    for name in (
        "frameworks", "paddle-lite", "paddle-serving-0.9", "paddle-serving-0.9-packages",
        "paddleclas", "peers", "peers-bentoml", "peers-paddlex",
    )
)  # fmt: skip
ACCEPTED = REQUIREMENTS / "accepted-advisories.txt"
SECONDS = 300.0  # of pip-audit: without a network it would try every package again and again
_OLD = datetime.timedelta(days=30)
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)

Pin = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability of a pin; `numbers` are its number and its aliases."""

    pin: Pin
    numbers: frozenset[str]
    text: str

    def __str__(self) -> str:
        return f"{self.pin[0]} {self.pin[1]}: {self.text}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found, which pins there was data for, and why that may not be all, if so."""

    found: tuple[Finding, ...]
    known: frozenset[Pin]
    doubt: str = ""


def read_pins(paths: Sequence[Path]) -> set[Pin]:
    """Return the canonical names and versions that files of requirements pin, of every marker."""
    return {
        (canonicalize_name(name), version)
        for path in paths
        for name, version in _PIN.findall(path.read_text(encoding="utf-8"))
    }


def read_accepted(path: Path) -> dict[tuple[Pin, str], str]:
    """Return the reason for each pin and number of the list of accepted advisories.

    Raises:
        ValueError: a line has not the four parts of one.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            package, version, number, reason = line.split(" ", 3)
            found[(package, version), number] = reason
    return found


def by_database(folder: Path, pins: set[Pin]) -> Comparison:
    """Compare pins with a folder of OSV files.

    Raises:
        OSError, ValueError: as `read_database`.
    """
    database = read_database(folder, {name for name, _ in pins})
    print(f"{database.files} advisories in {folder}, the last changed on {database.newest}")
    age = datetime.datetime.now(datetime.timezone.utc).date() - datetime.date.fromisoformat(
        database.newest
    )
    doubt = f"the database is {age.days} days old; renew it (git pull)" if age > _OLD else ""
    found = tuple(
        Finding((name, version), frozenset({one.number, *one.aliases}), str(one))
        for name, version in sorted(pins)
        for one in database.advisories
        if one.package == name and one.affects(version)
    )
    return Comparison(found, frozenset(pins), doubt)


def by_pip_audit(command: str, pins: set[Pin], seconds: float) -> Comparison:
    """Compare pins with the data of the package index, within a time.

    A pin is known if the index has data of it.
    """
    found: list[Finding] = []
    known: set[Pin] = set()
    end = time.monotonic() + seconds
    for part in _of_one_version(pins):
        try:
            packages = _run(command, part, end - time.monotonic())
        except ValueError as error:
            return Comparison(tuple(found), frozenset(known & pins), f"pip-audit: {error}")
        for package in packages:
            if "vulns" not in package:
                continue
            pin = (canonicalize_name(package["name"]), package["version"])
            known.add(pin)
            for one in package["vulns"]:
                numbers = (one["id"], *one.get("aliases", ()))
                fixed = ", ".join(one["fix_versions"]) or "no version yet"
                text = f"{numbers[0]}; fixed in {fixed}"
                found.append(Finding(pin, frozenset(numbers), text))
        if not known:
            break  # an index without data, such as a mirror, has none of the others either
    return Comparison(tuple(found), frozenset(known & pins))


def _of_one_version(pins: set[Pin]) -> Iterator[list[Pin]]:
    """Split pins: pip-audit takes one version of each package, and none of a foreign marker."""
    rest = sorted(pins)
    while rest:
        part = dict(reversed(rest))  # the first version of each name
        yield sorted(part.items())
        rest = [pin for pin in rest if part[pin[0]] != pin[1]]


def _run(command: str, pins: Sequence[Pin], seconds: float) -> list[dict[str, Any]]:
    """Run pip-audit; raise a ValueError that says why there is no data."""
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pins.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in pins), "utf-8")
        try:
            done = subprocess.run(
                [command, "--requirement", str(listed), *options],
                capture_output=True, text=True, check=False, timeout=max(seconds, 0.001),
            )  # fmt: skip
        except OSError as error:
            raise ValueError(str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise ValueError("it was not done in time; is the network slow, or none?") from error
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        reason = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        raise ValueError(reason[0]) from error
    return packages


def _report(result: Comparison) -> int:
    """Print what was found; return the exit code."""
    pins, accepted = read_pins(PINS), read_accepted(ACCEPTED)
    count = 0
    for finding in dict.fromkeys(one for one in result.found if one.pin in pins):
        reasons = [
            reason
            for (pin, number), reason in accepted.items()
            if pin == finding.pin and number in finding.numbers
        ]
        count += not reasons
        print(f"{finding} (accepted: {reasons[0]})" if reasons else str(finding))
    for path in OTHERS:
        listed = read_pins([path])
        for finding in dict.fromkeys(one for one in result.found if one.pin in listed - pins):
            print(f"{path.relative_to(ROOT)}, not of the service: {finding}")
    unknown = pins - result.known
    print(
        f"{len(pins) - len(unknown)} of {len(pins)} pins compared:"
        f" {count} vulnerabilities that are not accepted"
    )
    for doubt in filter(None, (result.doubt, _missing(unknown))):
        print_error(doubt)
    return 1 if count else 2 if unknown or result.doubt else 0


def _missing(pins: set[Pin]) -> str:
    names = sorted({name for name, _ in pins})
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"no data of {', '.join(names[:5])}{more}: these are not audited. Use a network with the"
        " package index, or give a checkout of github.com/pypa/advisory-database:"
        " make audit ADVISORY_DATABASE=FOLDER"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the pins; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reliability.audit", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pip-audit", metavar="COMMAND", help="the command of pip-audit")
    source.add_argument("--database", metavar="FOLDER", type=Path, help="a folder of OSV files")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="most time of pip-audit (%(default)s)"
    )
    options = parser.parse_args(arguments)
    pins = read_pins((*PINS, *OTHERS))
    try:
        if options.database:
            return _report(by_database(options.database, pins))
        return _report(by_pip_audit(options.pip_audit, pins, options.seconds))
    except (OSError, ValueError) as error:
        print_error(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(as_command(main))
