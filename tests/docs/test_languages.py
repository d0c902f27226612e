"""Every document exists in English and in Chinese, and both have the same form.

Headings (levels and order), code blocks, tables (rows and columns) and links must agree. Comments
in code may be translated, so comments, Chinese text and placeholders such as <class> are left out
of the comparison; so are blocks without a language, which are drawings.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = ".zh-CN.md"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
NOT_LATIN = re.compile(r"[^\x00-\x7f]+")
PLACEHOLDER = re.compile(r"<[^<>\n]*>")
LINK = re.compile(r"\]\(([^)#\s]+)")
MOST_WORDS_OF_README = 1200


def _english() -> list[Path]:
    found = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
    # The sample images' page is a list of sources; it is not translated.
    own = ROOT / "examples" / "images" / "README.md"
    return sorted(path for path in found if not path.name.endswith(SUFFIX) and path != own)


def _chinese(english: Path) -> Path:
    return english.with_name(english.name.removesuffix(".md") + SUFFIX)


def _prose(document: Path) -> str:
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def _headings(document: Path) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", _prose(document), re.MULTILINE)]


def _code(document: Path) -> list[tuple[str, str]]:
    """Return the language and the comparable text of each block."""
    blocks = []
    for _indent, language, text in FENCE.findall(document.read_text(encoding="utf-8")):
        kept = PLACEHOLDER.sub("<>", text) if language else ""
        kept = NOT_LATIN.sub("", COMMENT.sub("", kept))
        blocks.append((language, " ".join(kept.split())))
    return blocks


def _tables(document: Path) -> list[tuple[int, set[int]]]:
    """Return rows and columns of each table."""
    tables: list[list[str]] = [[]]
    for line in _prose(document).splitlines():
        if line.lstrip().startswith("|"):
            tables[-1].append(line.strip())
        elif tables[-1]:
            tables.append([])
    # A bar within a cell is written with a backslash.
    return [
        (len(rows), {len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows}) for rows in tables
    ]


def _quoted(document: Path) -> list[list[str]]:
    """Return the quoted names of each row of each table, without regard to language."""
    rows = [line for line in _prose(document).splitlines() if line.lstrip().startswith("|")]
    return [[name.replace(SUFFIX, ".md") for name in re.findall(r"`([^`]+)`", row)] for row in rows]


def _links(document: Path) -> set[str]:
    """Return where the document leads, without regard to language (the switch at its top aside)."""
    return {link.replace(SUFFIX, ".md") for link in LINK.findall(_prose(document))}


def _names() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in _english()]


@pytest.mark.parametrize("name", _names())
def test_both_languages_have_the_same_headings(name: str) -> None:
    assert _headings(_chinese(ROOT / name)) == _headings(ROOT / name)


@pytest.mark.parametrize("name", _names())
def test_both_languages_have_the_same_code_blocks(name: str) -> None:
    assert _code(_chinese(ROOT / name)) == _code(ROOT / name)


@pytest.mark.parametrize("name", _names())
def test_both_languages_have_tables_of_the_same_shape(name: str) -> None:
    tables = _tables(ROOT / name)
    assert _tables(_chinese(ROOT / name)) == tables
    assert all(len(columns) <= 1 for _rows, columns in tables), "a row has a column too many"


@pytest.mark.parametrize("name", _names())
def test_rows_of_tables_name_the_same_keys_and_commands(name: str) -> None:
    for english, chinese in zip(_quoted(ROOT / name), _quoted(_chinese(ROOT / name)), strict=True):
        assert len(set(chinese)) == len(set(english)), (english, chinese)
        translated = {quoted for quoted in chinese if NOT_LATIN.search(quoted)}
        assert set(chinese) - translated <= set(english)


@pytest.mark.parametrize("name", _names())
def test_both_languages_lead_to_the_same_places(name: str) -> None:
    assert _links(_chinese(ROOT / name)) == _links(ROOT / name)


def test_every_document_is_there_in_both_languages_and_names_the_other() -> None:
    for english in _english():
        chinese = _chinese(english)
        assert f"({chinese.name})" in english.read_text(encoding="utf-8"), english
        assert f"({english.name})" in chinese.read_text(encoding="utf-8"), chinese
    alone = set(ROOT.glob("docs/*" + SUFFIX)) - {_chinese(p) for p in _english()}
    assert not alone


def test_the_readme_is_short() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        words = len((ROOT / name).read_text(encoding="utf-8").split())
        assert words <= MOST_WORDS_OF_README, f"{name}: {words} words; move tables to docs/"
