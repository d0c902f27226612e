"""Pins: one list of versions, the image's wheels by hash, and the audit of both."""

from __future__ import annotations

import configparser
import datetime
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


LISTS = pytest.mark.parametrize(
    ("name", "wanted", "needless"),
    [("image.txt", ("cpu", "onnx"), ()), ("image-fast.txt", ("onnx", "openvino"), ("onnx",))],
)


@LISTS
def test_every_wheel_of_an_image_has_its_hash_and_the_version_of_the_constraints(
    root: Path, name: str, wanted: tuple[str, ...], needless: tuple[str, ...]
) -> None:
    text = (root / "requirements" / name).read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in re.split(r"\n(?=\S)", body.strip()):
        assert PIN.match(block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", block), block[:80]
    pinned = audit.read_pins([root / "constraints.txt"])
    assert set(of_the_image(text).items()) <= pinned, "run `make wheels`"
    assert "http" not in body.replace("httpcore", "").replace("httptools", "").replace("httpx", "")


@LISTS
def test_an_image_has_whatever_serving_needs(
    root: Path, name: str, wanted: tuple[str, ...], needless: tuple[str, ...]
) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(root / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    text = "\n".join((setup["options"]["install_requires"], *map(extras.get, wanted)))
    image = of_the_image((root / "requirements" / name).read_text(encoding="utf-8"))
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        need = Requirement(line)
        if need.name in needless:
            assert need.name not in image
        elif need.marker is None or need.marker.evaluate(IMAGE_PYTHON):
            assert Version(image[need.name]) in need.specifier


def test_base_images_have_a_digest_and_wheels_a_hash(root: Path) -> None:
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)
    bases = [at for at in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if at not in stages]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11-[a-z-]+@sha256:[0-9a-f]{64}", base) for base in bases)
    assert len(set(bases)) == 1
    installs = re.findall(r"pip install .*", text)
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line, line


def test_pins_of_every_file_of_requirements_are_read(root: Path) -> None:
    files = {*audit.PINS, *audit.OTHERS}
    assert files | {audit.ACCEPTED} == {root / "constraints.txt", *root.glob("requirements/*.txt")}
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and not line.startswith(("#", " "))]
        assert sum(
            1 for line in pins if re.match(r"[A-Za-z0-9._-]+(\[.*\])?==[^\s;]+", line)
        ) == len(pins)
        assert audit.read_pins([path])


def test_what_is_accepted_is_pinned_and_onnx_of_the_image_has_no_accepted_fault(
    root: Path,
) -> None:
    accepted = {pin for pin, _ in audit.read_accepted(audit.ACCEPTED)}
    assert accepted <= audit.read_pins([root / "constraints.txt"]), "remove what is pinned no more"
    image = audit.read_pins([root / "requirements" / "image.txt"])
    assert {name for name, _ in accepted & image} == {"paddlepaddle"}


def a_database(folder: Path, package: str, fixed: str, modified: str = "") -> Path:
    """A folder with one advisory, CVE-1, of a package's versions below `fixed`."""
    modified = modified or datetime.datetime.now(datetime.timezone.utc).isoformat()
    record = {
        "id": "PYSEC-1",
        "modified": modified,
        "aliases": ["CVE-1"],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": package},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}
                ],
            }
        ],
    }
    (folder / "PYSEC-1.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_pin_with_a_vulnerability_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["--database", str(a_database(tmp_path, "H11", "99"))]) == 1
    assert "PYSEC-1 (CVE-1); fixed in 99" in capsys.readouterr().out


def test_pins_without_a_vulnerability_are_exit_code_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["--database", str(a_database(tmp_path, "h11", "0.1"))]) == 0
    assert "0 vulnerabilities" in capsys.readouterr().out


def test_an_accepted_vulnerability_is_printed_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (version,) = (version for name, version in audit.read_pins(audit.PINS) if name == "h11")
    accepted = tmp_path / "accepted.txt"
    accepted.write_text(f"# of a test\nh11 {version} CVE-1 never called\n", encoding="utf-8")
    monkeypatch.setattr(audit, "ACCEPTED", accepted)
    assert audit.main(["--database", str(a_database(tmp_path, "h11", "99"))]) == 0
    assert "(accepted: never called)" in capsys.readouterr().out
    accepted.write_text("h11 0.0.1 CVE-1 of another version\n", encoding="utf-8")
    assert audit.main(["--database", str(tmp_path)]) == 1


def test_an_environment_of_another_project_is_reported_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main(["--database", str(a_database(tmp_path, "flask", "99"))]) == 0
    printed = capsys.readouterr().out
    assert "paddle-serving-0.9.txt, not of the service: flask 1.1.4: PYSEC-1" in printed


@pytest.mark.parametrize("modified", ["2020-01-01T00:00:00Z", None])
def test_an_old_or_an_empty_database_audits_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], modified: str | None
) -> None:
    if modified:
        a_database(tmp_path, "h11", "0.1", modified)
    assert audit.main(["--database", str(tmp_path)]) == 2
    assert ("renew it" if modified else "has no OSV file") in capsys.readouterr().err


def a_pip_audit(folder: Path, body: str) -> str:
    """A program in place of pip-audit; `pins` are the lines that it is given."""
    command = folder / "pip-audit"
    head = "import json, sys, time\npins = open(sys.argv[2]).read().split()\n"
    command.write_text(f"#!{sys.executable}\n{head}{body}\n", encoding="utf-8")
    command.chmod(0o755)
    return str(command)


KNOWN = """
assert len({pin.split("==")[0] for pin in pins}) == len(pins)
fault = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["9.9"]}
packages = [dict(zip(("name", "version"), pin.split("=="))) for pin in pins]
for one in packages:
    one["vulns"] = [fault] if one["name"] == FAULTY else []
print(json.dumps({"dependencies": packages}))
"""


@pytest.mark.parametrize(("faulty", "code"), [("h11", 1), ("none", 0)])
def test_pip_audit_gets_every_version_of_a_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], faulty: str, code: int
) -> None:
    command = a_pip_audit(tmp_path, f"FAULTY = {faulty!r}{KNOWN}")
    assert audit.main(["--pip-audit", command]) == code
    count = len(audit.read_pins(audit.PINS))
    printed = capsys.readouterr().out
    assert f"{count} of {count} pins compared" in printed
    assert ("PYSEC-1; fixed in 9.9" in printed) == (code == 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "No such file"),
        ("", "it printed nothing"),
        ("sys.exit('no route to the index')", "no route to the index"),
        ("time.sleep(3600)", "not done in time"),
        ('print(\'{"dependencies": [{"name": "h11", "skip_reason": "not found"}]}\')', ""),
    ],
)
def test_without_data_nothing_is_audited_and_the_output_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str | None, reason: str
) -> None:
    command = str(tmp_path / "nowhere") if body is None else a_pip_audit(tmp_path, body)
    seconds = "1" if reason == "not done in time" else "60"
    assert audit.main(["--pip-audit", command, "--seconds", seconds]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("0 of ")
    assert reason in printed.err
    assert "these are not audited" in printed.err
    assert "ADVISORY_DATABASE=FOLDER" in printed.err
