from __future__ import annotations

import pytest

from protocol import multipart
from protocol.errors import InvalidRequest
from protocol.multipart import MAX_PARTS, read_multipart

TYPE = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def test_files_in_order_and_fields() -> None:
    tricky = b"\r\n--bx no boundary\r\n-\x00\xff"
    body = (
        part("a", b"one", "a.png")
        + part("topk", b"1")
        + part("b", tricky, "\u56fe.png")
        + part("empty", b"", "")
        + part("topk", b"2")
        + b"--b--\r\n"
    )
    assert read_multipart(body, TYPE) == ([b"one", tricky, b""], {"topk": "2"})
    assert read_multipart(body, 'multipart/form-data; boundary="b"')[1] == {"topk": "2"}


def test_forms_that_others_write() -> None:
    whole = part("a", b"one", "a.png")
    for body in (
        b"a preamble\r\n" + whole + b"--b--",  # no line end at the end, and words before
        b"\r\n" + whole + b"--b--\r\nan epilogue\r\n--b\r\n",
        whole.replace(b"Content-D", b"Content-Type: image/png\r\ncontent-d") + b"--b--\r\n",
    ):
        assert read_multipart(body, TYPE) == ([b"one"], {}), body
    # Nothing between head and boundary, with its line end and without.
    for end in (b"\r\n--b--\r\n", b"--b--\r\n"):
        head = b'--b\r\nContent-Disposition: form-data; name="topk"\r\n\r\n'
        assert read_multipart(head + end, TYPE) == ([], {"topk": ""})


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_form_that_was_cut_off_is_no_smaller_form(cut: int) -> None:
    body = part("a", b"one", "a.png") + part("b", b"two", "b.png") + b"--b--\r\n"
    if cut <= len(b"--\r\n"):
        cut += len(b"--\r\n")
    with pytest.raises(InvalidRequest, match="not uploaded whole"):
        read_multipart(body[:-cut], TYPE)


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"--b--\r\n", "multipart/form-data", "must name its boundary"),
        (b"", TYPE, "not uploaded whole"),
        (b"not a form", TYPE, "cannot be read"),
        (b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", TYPE, "has no name"),
        (b"--b\r\nX: " + b"y" * 9000 + b"\r\n\r\nz\r\n--b--\r\n", TYPE, "does not end within"),
        (part("a", b"") * (MAX_PARTS + 1) + b"--b--\r\n", TYPE, "more than 1000 parts"),
        (b"--b\r\n" + b"\r\n--bX" * 5000, TYPE, "more than 1000 parts"),
        (b"--b" + b" " * 5000, TYPE, "not uploaded whole"),
        (b"--b\r\n\r\nz\r\n--b--\r\n", TYPE, "has no name"),
        (b"--b\r\n" + b"X: y\r\n" * 3 + b"\r\n--b--\r\n", TYPE, "has no name"),
    ],
)
def test_what_is_wrong_with_a_form_is_explained(
    body: bytes, content_type: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_multipart(body, content_type)


@pytest.mark.parametrize("piece", [1, 2, 5, 64])
def test_large_forms_are_cut_the_same_in_pieces(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    contents = [b"\r\n--" * 40 + b"\r\n-", b"", b"\r\n--" + b"x" * 100, b"abc" * 60]
    body = b"".join(part("a", content, "a.png") for content in contents) + b"--b--\r\n"
    monkeypatch.setattr(multipart, "_PIECE", piece)
    assert read_multipart(body, TYPE) == (contents, {})
