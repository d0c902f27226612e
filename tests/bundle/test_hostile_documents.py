"""Documents from strangers: small in bytes, and beyond all bounds in what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import BundleError
from bundle.labels import read_labels
from bundle.model_config import read_model_config
from bundle.parameter_file import check_whole
from bundle.strict_json import parse_json
from bundle.strict_yaml import MAX_BYTES, parse_yaml, read_yaml
from bundle.yaml_bounds import MAX_DEPTH, MAX_EXPANDED, MAX_VALUES
from tests.bundle.test_parameter_file import record

COLLIDING = "".join(f"{k * (2**61 - 1)}: a\n" for k in range(1, 2000))


def bomb(merge: bool, levels: int = 30) -> str:
    """Anchors of which each stands for two of the one before: 2**30 values in a kilobyte."""
    key = "<<: " if merge else "a: "
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{{key}[*a{n - 1}, *a{n - 1}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("texts", [False, True], ids=["values", "texts"])
@pytest.mark.parametrize("merge", [False, True], ids=["aliases", "merge keys"])
def test_a_yaml_bomb_is_refused_before_it_is_expanded(merge: bool, texts: bool) -> None:
    assert len(bomb(merge)) < 1200
    with pytest.raises(BundleError, match=r"^f holds .*: no description of a model does; write"):
        parse_yaml(bomb(merge), "f", texts=texts)


def test_the_work_on_a_yaml_bomb_does_not_grow_with_what_it_stands_for() -> None:
    """Steps of the interpreter: doubling what it stands for ten times costs ten lines more."""
    few, many = (steps(lambda n=levels: refused(bomb(True, n))) for levels in (23, 33))
    assert many < 3 * few


def refused(text: str) -> None:
    with pytest.raises(BundleError):
        parse_yaml(text, "f")


def steps(run: Callable[[], None]) -> int:
    """How many calls of Python functions a call makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def test_aliases_that_repeat_a_long_text() -> None:
    text = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 200)}]"
    assert len(text) * 4 < MAX_EXPANDED
    with pytest.raises(BundleError, match="aliases"):
        parse_yaml(text, "f")


def test_aliases_and_merge_keys_of_people_are_read() -> None:
    text = "base: &base {mean: [1, 2], std: 3}\na: {<<: *base, std: 4}\nb: [*base, *base]"
    base = {"mean": [1, 2], "std": 3}
    assert parse_yaml(text, "f") == {"base": base, "a": {**base, "std": 4}, "b": [base, base]}


@pytest.mark.parametrize("text", ["a: &a [*a]", "&a a: &b {b: *b}"])
def test_an_anchor_within_itself(text: str) -> None:
    with pytest.raises(BundleError, match="an anchor that holds itself"):
        parse_yaml(text, "f")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100 + "]" * 100,
        "- " * 100 + "a",
        "".join(f"{' ' * n}a:\n" for n in range(100)),
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100)),
    ],
    ids=["brackets", "dashes", "keys", "aliases"],
)
def test_deep_yaml(text: str) -> None:
    with pytest.raises(BundleError, match=f"more than {MAX_DEPTH} levels deep"):
        parse_yaml(text, "f")


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "1:" * 100_000 + "1",
        "a: 0x" + "f" * 100_000,
        "a: " + "9" * 5000,
        "a: 1." + "9" * 5000,
        COLLIDING,
    ],
    ids=["base 60", "hexadecimal", "decimal", "fraction", "keys of one hash"],
)
def test_numbers_that_cost_more_than_their_digits(text: str) -> None:
    with pytest.raises(BundleError, match=r"^f line 1: has a number of \d+ characters; write it"):
        parse_yaml(text, "f")


def test_digits_in_quotes_are_text() -> None:
    assert parse_yaml(f"a: '{'9' * 5000}'", "f") == {"a": "9" * 5000}


@pytest.mark.parametrize("parse", [parse_yaml, parse_json])
def test_more_values_than_any_model_has_classes(parse: Callable[[str, str], object]) -> None:
    text = "[" + "1," * MAX_VALUES + "1]"
    with pytest.raises(BundleError, match=f"holds more than {MAX_VALUES} values"):
        parse(text, "f")


def test_a_description_of_all_22k_classes_is_within_the_bounds(tmp_path: Path) -> None:
    file = tmp_path / "f.yml"
    file.write_text("".join(f"- class number {n}, another name of it\n" for n in range(21_841)))
    assert len(read_labels(file)) == 21_841


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100 + "]" * 100, f"more than {MAX_DEPTH} levels deep"),
        ('{"a":' * 100_000, f"more than {MAX_DEPTH} levels deep"),
        (f'{{"a": {"9" * 5000}}}', "has a number of 5000 characters"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('["' + '\\"[' * 1_000_000, "cannot be read as JSON"),
    ],
    ids=["deep", "deep keys", "digits", "twice", "text without an end"],
)
def test_hostile_json(text: str, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        parse_json(text, "f")


def test_brackets_within_a_text_of_json_are_no_depth() -> None:
    assert parse_json('["' + "[" * 1000 + '\\"{"]', "f") == ["[" * 1000 + '"{']


def test_one_key_twice_among_many_is_found_in_linear_time() -> None:
    """Counting each key among all of them takes hours on a label file of 16 MiB."""
    few, many = (steps(lambda n=count: refused_json(n)) for count in (1000, 8000))
    assert many < 10 * few


def refused_json(count: int) -> None:
    keys = ",".join(f'"{n}":"a"' for n in (*range(count), 0))
    with pytest.raises(BundleError, match="'0' is given twice"):
        parse_json("{" + keys + "}", "f")


def test_files_without_an_end(tmp_path: Path) -> None:
    """Sparse files: a terabyte on no disk, of which no more is read than the bound and a byte."""
    for name, read in (
        ("f.yml", read_yaml),
        ("f.txt", read_labels),
        ("serving_server_conf.prototxt", read_model_config),
        ("serving_server_conf.stream.prototxt", read_model_config),
    ):
        file = tmp_path / name
        with file.open("wb") as out:
            out.truncate(1 << 40)
        with pytest.raises(BundleError, match="is larger than"):
            read(file)
    assert MAX_BYTES == 16 << 20


def test_a_configuration_of_a_thousand_dimensions(tmp_path: Path) -> None:
    file = tmp_path / "serving_server_conf.prototxt"
    file.write_text('feed_var { name: "x" feed_type: 1 ' + "shape: 9 " * 1000 + "}")
    with pytest.raises(BundleError, match="x has 1000 dimensions"):
        read_model_config(file)


def test_more_parameters_than_any_classifier_has(tmp_path: Path) -> None:
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(record(0) * 100_001)
    with pytest.raises(BundleError, match="more than 100000 parameters"):
        check_whole(file)
