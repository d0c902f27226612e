"""`python -m reliability.audit`: whether a pinned version has a published vulnerability.

With `--pip-audit COMMAND` it uses pip-audit and the data of the package index. Where these cannot
be had, or do not know a package, it compares the versions with requirements/advisories.txt, and
says so. Exit code 1 if a pin has a vulnerability.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from benchmarks.bare import ROOT
from protocol.console import as_command

PINS = (ROOT / "constraints.txt", ROOT / "requirements" / "image.txt")
ADVISORIES = ROOT / "requirements" / "advisories.txt"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Advisory:
    """A vulnerability of every version of `package` below `fixed`."""

    package: str
    fixed: Version
    number: str
    text: str


def read_pins(paths: Sequence[Path]) -> set[tuple[str, str]]:
    """Return the names and versions that files of requirements pin, of every marker."""
    return {
        (name.lower().replace("_", "-"), version)
        for path in paths
        for name, version in _PIN.findall(path.read_text(encoding="utf-8"))
    }


def read_advisories(path: Path) -> list[Advisory]:
    """Return the advisories of a list.

    Raises:
        ValueError: a line has not the four parts of one.
    """
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            package, fixed, number, text = line.split(" ", 3)
            found.append(Advisory(package, Version(fixed), number, text))
    return found


def by_version(pins: set[tuple[str, str]], advisories: Sequence[Advisory]) -> list[str]:
    """Return the pins that a list of advisories names, each in a line."""
    return [
        f"{name} {version}: {advisory.number} ({advisory.text}); fixed in {advisory.fixed}"
        for name, version in sorted(pins)
        for advisory in advisories
        if advisory.package == name and Version(version) < advisory.fixed
    ]


def by_data(command: str, path: Path) -> tuple[list[str], set[str]]:
    """Return what pip-audit finds in a file of pins, and the names that it has data of."""
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [command, "--requirement", str(path), *options],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        print(f"pip-audit cannot be used: {error}", file=sys.stderr)
        return [], set()
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        print(f"pip-audit cannot be used: {reason[0]}", file=sys.stderr)
        return [], set()
    known = [package for package in packages if "vulns" in package]
    found = [
        f"{package['name']} {package['version']}: {fault['id']}; "
        f"fixed in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in known
        for fault in package["vulns"]
    ]
    return found, {package["name"] for package in known}


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the pins; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reliability.audit", description=__doc__)
    parser.add_argument("--pip-audit", metavar="COMMAND", help="the command of pip-audit")
    options = parser.parse_args(arguments)
    pins = read_pins(PINS)
    found: list[str] = []
    known: set[str] = set()
    for path in PINS if options.pip_audit else ():
        vulnerable, names = by_data(options.pip_audit, path)
        found, known = found + vulnerable, known | names
    unknown = {pin for pin in pins if pin[0] not in known}
    advisories = read_advisories(ADVISORIES)
    found += by_version(unknown, advisories)
    print(
        f"{len(pins)} pins: {len(pins) - len(unknown)} by pip-audit's data, {len(unknown)} by "
        f"version against the {len(advisories)} advisories of {ADVISORIES.relative_to(ROOT)}"
    )
    for line in dict.fromkeys(found):
        print(line)
    print(f"{len(set(found))} vulnerabilities" if found else "no known vulnerability")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(as_command(main))
