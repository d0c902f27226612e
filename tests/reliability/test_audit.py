"""Pins: one list of versions, the image's wheels by hash, and the audit of both."""

from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from reliability import audit

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.*?))? \\$", re.MULTILINE)
IMAGE_PYTHON = {"python_full_version": "3.11.16", "python_version": "3.11"}


def of_the_image(text: str) -> dict[str, str]:
    """The versions that pip takes of a list on the Python of the image."""
    return {
        name: version
        for name, version, marker in PIN.findall(text)
        if not marker or Requirement(f"{name}; {marker}").marker.evaluate(IMAGE_PYTHON)  # type: ignore[union-attr]
    }


def test_every_wheel_of_the_image_has_its_hash_and_the_version_of_the_constraints(
    root: Path,
) -> None:
    text = (root / "requirements" / "image.txt").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in re.split(r"\n(?=\S)", body.strip()):
        assert PIN.match(block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", block), block[:80]
    pinned = audit.read_pins([root / "constraints.txt"])
    assert set(of_the_image(text).items()) <= pinned, "run `make wheels`"
    assert "http" not in body.replace("httpcore", "").replace("httptools", "").replace("httpx", "")


def test_the_image_has_whatever_serving_needs(root: Path) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(root / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    text = "\n".join((setup["options"]["install_requires"], extras["cpu"], extras["onnx"]))
    image = of_the_image((root / "requirements" / "image.txt").read_text(encoding="utf-8"))
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate(IMAGE_PYTHON):
            assert Version(image[need.name]) in need.specifier


def test_base_images_have_a_digest_and_wheels_a_hash(root: Path) -> None:
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11-[a-z-]+@sha256:[0-9a-f]{64}", base) for base in bases)
    assert len(set(bases)) == 1
    installs = re.findall(r"pip install .*", text)
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line, line


def test_a_pin_below_the_fixed_version_is_found(tmp_path: Path) -> None:
    listed = tmp_path / "advisories.txt"
    listed.write_text("# of a test\nh11 0.16.0 CVE-2025-43859 wrong framing\n", encoding="utf-8")
    advisories = audit.read_advisories(listed)
    pins = tmp_path / "pins.txt"
    pins.write_text("H11==0.14.0 ; python_version < '3.11'\nh11==0.16.0 \\\n", encoding="utf-8")
    (found,) = audit.by_version(audit.read_pins([pins]), advisories)
    assert found == "h11 0.14.0: CVE-2025-43859 (wrong framing); fixed in 0.16.0"


def test_every_pin_is_free_of_the_listed_advisories(root: Path) -> None:
    advisories = audit.read_advisories(audit.ADVISORIES)
    pins = audit.read_pins(audit.PINS)
    assert audit.by_version(pins, advisories) == []
    assert len(advisories) > 20
    names = [(advisory.package, advisory.number) for advisory in advisories]
    assert names == sorted(names, key=lambda pair: pair[0])
    assert len(set(names)) == len(names)


def a_pip_audit(folder: Path, printed: str) -> str:
    command = folder / "pip-audit"
    command.write_text(f"#!{sys.executable}\nprint({printed!r})\n", encoding="utf-8")
    command.chmod(0o755)
    return str(command)


def test_data_of_pip_audit_counts_before_the_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = {"id": "PYSEC-1", "fix_versions": ["9.9"]}
    packages = [
        {"name": "h11", "version": "0.16.0", "vulns": [fault]},
        {"name": "idna", "skip_reason": "not found"},
    ]
    command = a_pip_audit(tmp_path, json.dumps({"dependencies": packages}))
    assert audit.main(["--pip-audit", command]) == 1
    printed = capsys.readouterr().out
    assert "h11 0.16.0: PYSEC-1; fixed in 9.9" in printed
    assert "1 by pip-audit's data" in printed


@pytest.mark.parametrize("command", ["nowhere", "silent"])
def test_without_data_the_list_counts_and_the_output_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = a_pip_audit(tmp_path, "") if command == "silent" else str(tmp_path / "nowhere")
    assert audit.main(["--pip-audit", path]) == 0
    printed = capsys.readouterr()
    assert "pip-audit cannot be used" in printed.err
    assert "0 by pip-audit's data" in printed.out
    assert "no known vulnerability" in printed.out
