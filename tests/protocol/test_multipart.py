from __future__ import annotations

import contextlib
import time

import pytest

from protocol import multipart
from protocol.errors import InvalidRequest
from protocol.multipart import MAX_PARTS, read_multipart

TYPE = "multipart/form-data; boundary=b"


def contents(body: bytes, content_type: str = TYPE) -> tuple[list[bytes], dict[str, str]]:
    """The files, and the fields as text."""
    parts = read_multipart(body, content_type)
    fields = {part.name: part.content.decode() for part in parts if not part.is_file}
    return [part.content for part in parts if part.is_file], fields


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
    assert contents(body, TYPE) == ([b"one", tricky, b""], {"topk": "2"})
    assert contents(body, 'multipart/form-data; boundary="b"')[1] == {"topk": "2"}


def test_forms_that_others_write() -> None:
    whole = part("a", b"one", "a.png")
    for body in (
        b"a preamble\r\n" + whole + b"--b--",  # no line end at the end, and words before
        b"\r\n" + whole + b"--b--\r\nan epilogue\r\n--b\r\n",
        whole.replace(b"Content-D", b"Content-Type: image/png\r\ncontent-d") + b"--b--\r\n",
    ):
        assert contents(body, TYPE) == ([b"one"], {}), body
    # Nothing between head and boundary, with its line end and without.
    for end in (b"\r\n--b--\r\n", b"--b--\r\n"):
        head = b'--b\r\nContent-Disposition: form-data; name="topk"\r\n\r\n'
        assert contents(head + end, TYPE) == ([], {"topk": ""})


@pytest.mark.parametrize("content_type", [TYPE, ""])
def test_blanks_behind_a_boundary_lose_no_file(content_type: str) -> None:
    """RFC 2046, 5.1.1: transport padding, which gateways add."""
    body = part("a", b"one", "a.png") + part("b", b"two", "b.png") + b"--b--  \r\n"
    for padded in (
        body.replace(b"--b\r\n", b"--b \t\r\n"),
        body.replace(b"e\r\n--b", b"e\r\n--b "),
    ):
        assert contents(padded, content_type) == ([b"one", b"two"], {})


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
    written = [b"\r\n--" * 40 + b"\r\n-", b"", b"\r\n--" + b"x" * 100, b"abc" * 60]
    body = b"".join(part("a", content, "a.png") for content in written) + b"--b--\r\n"
    monkeypatch.setattr(multipart, "_PIECE", piece)
    assert contents(body, TYPE) == (written, {})


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\r\n\x00"


@pytest.mark.parametrize(
    "head",
    [
        # .NET's MultipartFormDataContent, without quotes, and with both forms of the name.
        b"Content-Type: image/jpeg\r\n"
        b"Content-Disposition: form-data; name=image; filename=a.jpg; filename*=utf-8''a.jpg",
        # The same without a file name: ByteArrayContent.
        b"Content-Type: image/jpeg\r\nContent-Disposition: form-data; name=image",
        # requests with files={"image": (None, data)}.
        b'Content-Disposition: form-data; name="image"',
        b"Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''%E5%9B%BE.jpg",
        # Apache's HttpClient, which says how the bytes are sent.
        b'Content-Disposition: form-data; name="image"\r\n'
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary",
        b'content-disposition: FORM-DATA; NAME="image"; FILENAME="C:\\a\\b.jpg"',
        b'Content-Disposition: form-data; filename="a;name=b.jpg"',
        b"Content-Disposition: attachment; filename=a.jpg",
        b"Content-Type: image/jpeg",
        b'Content-Disposition: form-data; name="a\\"; filename=\\"b"\r\nContent-Type: image/webp',
    ],
    ids=range(10),
)
def test_a_part_that_is_a_file(head: bytes) -> None:
    body = b"--b\r\n" + head + b"\r\n\r\n" + JPEG + b"\r\n--b--\r\n"
    (part,) = read_multipart(body, TYPE)
    assert (part.is_file, part.content) == (True, JPEG)


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="topk"',
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=topk",
        b'Content-Disposition: form-data; name="topk"\r\nContent-Type: application/json',
        b'Content-Disposition: form-data; name="topk"\r\nContent-Type: text/plain; charset=US-ASCII'
        b"\r\nContent-Transfer-Encoding: 8bit",
        b'Content-Disposition: form-data; x="; filename=a"; name="topk"',
    ],
    ids=range(5),
)
def test_a_part_that_is_a_field(head: bytes) -> None:
    body = b"--b\r\n" + head + b"\r\n\r\n3\r\n--b--\r\n"
    assert contents(body) == ([], {"topk": "3"})


def test_line_feeds_alone_where_the_first_line_has_them() -> None:
    body = (part("a", JPEG, "a.png") + part("topk", b"1")).replace(b"\r\n", b"\n")
    # A carriage return at the end of a file is its own.
    body = body.replace(b"\n--b\n", b"\r\n--b\n") + b"--b--\n"
    assert contents(body) == ([JPEG.replace(b"\r\n", b"\n") + b"\r"], {"topk": "1"})


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "application/json", "multipart/mixed; boundary=b"]
)
def test_the_first_line_names_the_boundary_that_the_header_lacks(content_type: str) -> None:
    body = part("a", JPEG, "a.png") + b"--b--\r\n"
    assert contents(body, content_type) == ([JPEG], {})


def test_bytes_in_another_encoding_are_refused() -> None:
    body = part("a", b"/9j/", "a.jpg").replace(
        b"\r\n\r\n", b"\r\ncontent-transfer-encoding: base64\r\n\r\n"
    )
    with pytest.raises(InvalidRequest, match="Content-Transfer-Encoding: base64; send its bytes"):
        read_multipart(body + b"--b--\r\n", TYPE)


def test_a_head_that_was_made_to_be_slow_is_read_in_one_go() -> None:
    for filling in (b';a="', b";a=" + b"\\" * 3, b";" * 9, b'; "', b"=" * 5):
        head = b"Content-Disposition: form-data; name=a" + filling * (4000 // len(filling))
        body = b"--b\r\n" + head[:4000] + b"\r\n\r\nx\r\n"
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            read_multipart(body * 999 + b"--b--\r\n", TYPE)
        assert time.process_time() - began < 10  # 4 MB of heads: less than a second on a quiet core
