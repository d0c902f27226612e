"""What documents say of the code is what the code says: errors, floors, commands, tests."""

from __future__ import annotations

import configparser
import inspect
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.stages.operators.table import OPERATORS
from protocol.codec import Hints
from protocol.errors import WIRE_CODES
from protocol.key_value.received import reply_from_json
from protocol.key_value.request import request_from_json
from protocol.reply import Category

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


@pytest.mark.parametrize("name", [form.format("preprocessing") for form in BOTH])
def test_the_table_of_operators_has_each_with_its_options(name: str) -> None:
    """Options that are accepted and do nothing stand in no table."""
    idle = {"channel_first", "to_np", "backend", "return_numpy", "padding_mode"}
    refused = {"Resize": {"size"}}
    rows = re.findall(r"^\| ((?:`\w+`[^|]*)+) \| ([^|]*) \|", _text(name), re.MULTILINE)
    documented = {
        operator: set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", options))))
        for operators, options in rows
        for operator in re.findall(r"`(\w+)`", operators)
    }
    for operator, row in OPERATORS.items():
        options = set(inspect.signature(row.build).parameters)
        options -= refused.get(operator, set())
        assert options - idle <= documented.get(operator, set()) - idle, operator


@pytest.mark.parametrize("name", [form.format("contributing") for form in BOTH])
def test_the_floors_are_those_of_the_contracts(name: str) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    contracts = [setup[name] for name in setup.sections() if name.startswith("importlinter:")]
    layered = [contract for contract in contracts if contract["type"] == "layers"]
    drawn = re.search(r"^```text\n(whole: .*?)^```", _text(name), re.MULTILINE | re.DOTALL)
    assert drawn is not None
    floors = dict(re.findall(r"^([\w.]+): +((?:.*\n)(?: +.*\n)*)", drawn[1], re.MULTILINE))
    assert len(floors) == len(layered)
    for contract in layered:
        wanted = [floor.strip() for floor in contract["layers"].split("\n") if floor.strip()]
        shown = floors[contract.get("containers", "whole")]
        assert " ".join(shown.split()) == " > ".join(wanted)


def test_an_error_in_a_guide_has_its_name() -> None:
    """`NotReady` (3005), never 3005 alone; 5000 and the like may be plain numbers."""
    names = {codes.err_no: kind.__name__ for kind, codes in WIRE_CODES.items()}
    bare = []
    for document in sorted(ROOT.glob("docs/*.md")):
        if document.name.startswith(("wire.", "monitoring.", "migrating-")):
            continue  # tables with a column of numbers, and what 0.9's users search for
        text = re.sub(r"^ *```.*?^ *```", "", _text(f"docs/{document.name}"), flags=re.M | re.S)
        for found in re.finditer(r"\b(300[1-8]|500[12])\b", text):
            before = text[: found.start()].rstrip()
            if not re.search(rf"{names[int(found[1])]}`?\s*[（(]$", before):
                bare.append(f"{document.name}: {before[-40:]}{found[1]}")
    assert bare == []


@pytest.mark.parametrize("name", [form.format("contributing") for form in BOTH])
def test_the_commits_to_look_at_exist(name: str) -> None:
    def git(*arguments: str) -> bytes | None:
        ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
        return None if ended.returncode else ended.stdout.strip()

    commits = re.findall(r"(?:commit|提交) ([0-9a-f]{7})\b", _text(name))
    missing = [
        commit for commit in commits if git("cat-file", "-e", f"{commit}^{{commit}}") is None
    ]
    if missing == commits:
        pytest.skip("no git repository with this history")
    assert missing == []


@pytest.mark.parametrize("name", [form.format("contributing") for form in BOTH])
def test_the_table_of_coverage_has_every_room(name: str) -> None:
    pytest.importorskip("coverage")
    from tests.coverage_by_room import room_of

    houses = "protocol bundle converter pipeline client tools examples benchmarks reliability"
    modules = [path for house in houses.split() for path in (ROOT / house).rglob("*.py")]
    section = re.split(r"^## (?:Coverage|覆盖率)$", _text(name), flags=re.MULTILINE)[1]
    rows = re.findall(r"^\| `([\w/]+)` \| *([\d.]*) *\| *([\d.]*) *\|$", section, re.MULTILINE)
    listed = [room for room, *_figures in rows if room != "all"]
    # A package that holds nothing of its own has no row.
    assert set(listed) == {
        room_of(str(path.relative_to(ROOT))) for path in modules if path.stat().st_size
    }
    assert listed == sorted(listed)
    for room, fast, every in rows:
        assert float(fast or 0) <= float(every or 100) <= 100, room


def test_the_deployments_say_first_that_their_weights_are_random() -> None:
    for form, words in zip(BOTH, ("random weights", "随机权重"), strict=True):
        paragraphs = _text(form.format("deployments")).split("\n\n")
        assert words in paragraphs[2]  # after the title and the link to the other language


@pytest.mark.parametrize("name", [form.format("wire") for form in BOTH])
def test_the_examples_of_the_wire_are_read(name: str) -> None:
    request, reply = re.findall(r"^```json\n(.*?)^```", _text(name), re.MULTILINE | re.DOTALL)
    read = request_from_json(request.replace("<base64>", "/9j/").encode(), Hints("waste"))
    assert [image.topk for image in read.images] == [2]
    assert reply_from_json(reply.encode()).results == ((Category(1, "可回收物/玻璃", 0.93),),)
