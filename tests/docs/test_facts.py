"""What documents say of the code is what the code says: errors, floors, commands, tests."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from protocol.errors import WIRE_CODES

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("docs/{}.md", "docs/{}.zh-CN.md")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [form.format("wire") for form in BOTH])
def test_the_table_of_errors_is_the_one_of_the_code(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", _text(name), re.MULTILINE)
    documented = {error: (int(err_no), int(status)) for error, err_no, status in rows}
    assert documented == {
        kind.__name__: (codes.err_no, codes.http_status)
        for kind, codes in WIRE_CODES.items()
        if kind is not BaseException
    }


@pytest.mark.parametrize("name", [form.format("contributing") for form in BOTH])
def test_the_floors_are_those_of_the_contracts(name: str) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for title, contract in (
        ("whole", "house"),
        ("pipeline", "pipeline"),
        ("converter", "converter"),
    ):
        floors = setup[f"importlinter:contract:{contract}"]["layers"].split("\n")
        wanted = " > ".join(floor.strip() for floor in floors if floor.strip())
        found = re.search(rf"^{title}: +((?:.*\n)(?: {{4,}}.*\n)*)", _text(name), re.MULTILINE)
        assert found is not None
        assert " ".join(found[1].split()) == wanted
