"""Advisories: which versions a folder of OSV files says are affected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reliability.advisories import Advisory, read_database

Events = tuple[tuple[str, str], ...]


def an_advisory(*ranges: Events, versions: tuple[str, ...] = ()) -> Advisory:
    return Advisory("h11", "PYSEC-1", (), frozenset(versions), ranges)


TWO = (("introduced", "1.0"), ("fixed", "1.4"), ("introduced", "2.0"), ("fixed", "2.2"))
LAST = (("introduced", "1.0"), ("last_affected", "1.4"))


@pytest.mark.parametrize(
    ("events", "affected", "clear"),
    [
        ((("introduced", "0"),), ["0.dev1", "0", "99"], []),
        ((("introduced", "0"), ("fixed", "1.10")), ["0.dev1", "1.9", "1.10rc1"], ["1.10", "1.11"]),
        (TWO, ["1.0", "1.3.9", "2.0", "2.2b1"], ["0.9", "1.0rc1", "1.4", "1.9", "2.2", "3"]),
        (TWO[::-1], ["1.0", "2.1"], ["0.9", "1.4", "2.2"]),
        (LAST, ["1.0", "1.4", "1.4+cpu"], ["0.9", "1.4.post1", "1.5"]),
        ((("introduced", "1!1.0"),), ["1!2.0"], ["99"]),
        ((("introduced", "0"), ("limit", "*")), ["1.0"], []),
    ],
)
def test_versions_are_compared_with_a_range(
    events: Events, affected: list[str], clear: list[str]
) -> None:
    advisory = an_advisory(events)
    assert [version for version in affected if not advisory.affects(version)] == []
    assert [version for version in clear if advisory.affects(version)] == []


def test_any_of_several_ranges_and_the_listed_versions_count() -> None:
    advisory = an_advisory(TWO[:2], TWO[2:], versions=("3.0.0", "2004a-old"))
    assert [at for at in ("1.1", "1.5", "2.1", "3.0", "3.1") if advisory.affects(at)] == [
        "1.1",
        "2.1",
        "3.0",
    ]
    assert str(advisory) == "PYSEC-1; fixed in 1.4, 2.2"
    assert str(an_advisory()) == "PYSEC-1; fixed in no version yet"


def test_a_range_with_a_version_of_no_standard_is_an_error_with_its_number() -> None:
    with pytest.raises(ValueError, match="PYSEC-1 of h11"):
        an_advisory((("introduced", "2004a-old"),)).affects("1.0")


YAML = """id: PYSEC-2024-1
modified: 2024-10-09T01:02:03Z
aliases:
- CVE-2024-1
affected:
- package:
    ecosystem: PyPI
    name: {name}
  ranges:
  - type: GIT
    events:
    - introduced: "0"
  - type: ECOSYSTEM
    events:
    - introduced: "0"
    - fixed: 1.10
  versions: [1.20, "0.5"]
"""


@pytest.mark.parametrize("name", ["typing-extensions", "Typing_Extensions", "typing.extensions"])
def test_a_package_is_found_by_any_spelling_and_versions_stay_text(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "vulns" / "any"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(YAML.format(name=name), encoding="utf-8")
    (folder / "other.yaml").write_text(YAML.format(name="typing"), encoding="utf-8")
    (folder / "notes.yaml").write_text("on: push\n", encoding="utf-8")
    database = read_database(tmp_path, {"typing-extensions"})
    assert (database.files, database.newest) == (2, "2024-10-09")
    (advisory,) = database.advisories
    assert advisory.fixed == ("1.10",)
    assert advisory.aliases == ("CVE-2024-1",)
    assert advisory.affects("1.9")
    assert advisory.affects("1.20")
    assert not advisory.affects("1.11")


def test_json_is_read_and_what_is_withdrawn_or_of_other_languages_is_left_out(
    tmp_path: Path,
) -> None:
    package = {"ecosystem": "PyPI", "name": "h11"}
    record = {
        "id": "GHSA-1",
        "modified": "2026-01-02T00:00:00Z",
        "affected": [{"package": package}],
    }
    records = [
        record,
        record | {"withdrawn": "2026-01-03T00:00:00Z"},
        record | {"affected": [{"package": package | {"ecosystem": "npm"}}]},
    ]
    for number, one in enumerate(records):
        indent = 2 if number else None
        text = json.dumps(one, indent=indent)
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
    database = read_database(tmp_path, {"h11"})
    assert [one.number for one in database.advisories] == ["GHSA-1"]
    assert database.newest == "2026-01-02"


@pytest.mark.parametrize(
    "text",
    ["modified: 2026-01-02\nname: h11\naffected: [1]\n", "a: [\nname: h11\nmodified: 2026-01-02\n"],
)
def test_a_file_that_is_no_advisory_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.yaml is no OSV file"):
        read_database(tmp_path, {"h11"})
