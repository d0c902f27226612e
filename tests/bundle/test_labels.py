"""Label files: one a line, commas and Chinese and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle import BundleError
from bundle.labels import check_count, read_labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n  \n"])
def test_one_a_line(tmp_path: Path, encoding: str, newline: str, end: str) -> None:
    text = "可回收物/纸板\n  tench, Tinca tinca  \n0 a  b" + end
    (tmp_path / "labels.txt").write_bytes(text.replace("\n", newline).encode(encoding))
    assert read_labels(tmp_path / "labels.txt") == (
        "可回收物/纸板",
        "tench, Tinca tinca",
        "0 a  b",
    )


def test_the_embedded_labels(root: Path) -> None:
    if not (root / "labels/waste.txt").is_file():
        pytest.skip("labels/waste.txt is not there")
    assert len(read_labels(root / "labels/waste.txt")) == 6


def test_the_imagenet_list(shared: Path) -> None:
    labels = read_labels(shared / "models/synset_words.txt")
    assert len(labels) == 1000
    assert labels[0].endswith("tench, Tinca tinca")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty|no label"),
        (b"\n \n", "empty|no label"),
        (b"a\n\nb\n", "line 2"),
        (b"a\r\n\r\n\r\nb", "line 2"),
        ("a\n纸板\n".encode("gbk"), "UTF-8"),
        ("a\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(BundleError, match=cause) as error:
        read_labels(tmp_path / "labels.txt")
    assert "labels.txt" in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.txt"):
        read_labels(tmp_path / "none.txt")


def test_the_count_must_fit() -> None:
    check_count(("a", "b"), 2, "here")
    check_count(("a", "b"), -1, "here")
    with pytest.raises(BundleError, match=r"here.*too few"):
        check_count(("a", "b"), 3, "here")
    with pytest.raises(BundleError, match=r"here.*too many"):
        check_count(("a", "b"), 1, "here")
