"""What a body costs to read is bounded by its size: slow bodies beside ordinary ones."""

from __future__ import annotations

import base64
import contextlib
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest

from protocol.bodies import BodyCodec
from protocol.codec import Codec, Hints, NotQuick
from protocol.errors import ServingError
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.codec import ProtoCodec

SIZE = 2**21
HINTS = Hints("waste", max_images=64)
BASE64 = base64.b64encode(random.Random(1).randbytes(SIZE)).replace(b"+", b"x")
TRIES = 5


def envelope(value: bytes) -> bytes:
    return b'{"key": ["image"], "value": [' + value + b"]}"


def string(unit: bytes) -> bytes:
    return envelope(b'"' + unit * (SIZE // len(unit)) + b'"')


def beside(field: bytes) -> bytes:
    return b'{"key": ["a"], "value": ["YQ=="], ' + field + b"}"


def part(head: bytes, content: bytes = b"\xff\xd8") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"


def upload(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def message(**fields: object) -> bytes:
    return pb.Request(**fields).SerializeToString()  # type: ignore[arg-type]


FILE = b'name="image"; filename="a.jpg"'
ORDINARY = {
    "json": envelope(b'"' + BASE64[:SIZE] + b'"'),
    # A text that needs a repair, as many programs send it: each character is changed.
    "repair": string(b"QUFB QUFB"[:4] + b"_-AA"),
    "upload": upload(part(FILE, b"\xff\xd8" + BASE64[:SIZE])),
    "rpc": message(key=["image"], value=[BASE64[:SIZE].decode()]),
}
# Each with the ordinary body that it is compared with, of the same size.
COSTLY = {
    "a key": ("json", b'{"key": ["' + b"k" * SIZE + b'"], "value": [""]}'),
    "a key of escapes": ("json", b'{"key": ["' + rb"\u0041" * (SIZE // 6) + b'"], "value": [""]}'),
    "a field of escapes": ("json", beside(b'"a": "' + rb"\n" * (SIZE // 2) + b'"')),
    "a name of escapes": ("json", beside(b'"' + rb"\n" * (SIZE // 2) + b'": 1')),
    "tensors": ("json", beside(b'"tensors": "' + rb"\n" * (SIZE // 2) + b'"')),
    "many values": ("json", b'{"key":[""],"value":[' + b'"YQ==",' * (SIZE // 7) + b'""]}'),
    "many names": ("json", beside(b",".join(b'"%d":1' % i for i in range(SIZE // 10)))),
    "nesting": ("json", envelope(b"[" * SIZE)),
    "quotes": ("json", b'"" ' * (SIZE // 3)),
    "backslashes": ("json", envelope(b'"' + rb"\\" * (SIZE // 2) + b'"')),
    "escaped quotes": ("json", envelope(b'"' + rb"\"" * (SIZE // 2) + b'"')),
    "digits": ("json", envelope(b"9" * SIZE)),
    "blanks": ("json", b"{" + b" " * SIZE + b"}"),
    "surrogates": ("json", envelope(b'"' + rb"\ud800" * (SIZE // 6) + b'"')),
    "no UTF-8": ("json", envelope(b'"' + b"\xff" * SIZE + b'"')),
    "UTF-16": ("json", envelope(b'"' + BASE64[: SIZE // 2] + b'"').decode().encode("utf-16")),
    "slashes": ("repair", string(rb"\/")),
    "escaped letters": ("repair", string(rb"\u0041")),
    "escapes": ("repair", string(b"%2B")),
    "line ends as escapes": ("repair", string(b"%0A")),
    "escapes in a text": ("repair", b"A" * 100 + b"%0a" * (SIZE // 3)),
    "escapes in a form": ("repair", b"image=" + b"%0A" * (SIZE // 3)),
    "plus signs": ("repair", b"image=%2B" + b"+" * SIZE),
    "escapes in an upload": ("repair", upload(part(b'name="image"', b"A" * 99 + b"%0A" * 2**19))),
    "fields of a form": ("json", b"a=&" * (SIZE // 3)),
    "heads of ;": ("upload", upload(*[part(FILE + b";a=b" * 990)] * 500)),
    "heads of quotes": ("upload", upload(*[part(FILE + b';a="' + b"\\" * 3900)] * 500)),
    "heads of lines": ("upload", upload(*[part(FILE + b"\r\na:" * 990)] * 500)),
    "text of 0xFF": ("upload", upload(part(b'name="topk"', b"a" * 99 + b"\xff" * SIZE))),
    "parts": ("upload", upload(*[part(FILE)] * 30_000)),
    "delimiters": ("upload", upload(part(FILE, b"\r\n--bx" * (SIZE // 6)))),
    "keys of a message": ("rpc", b"\x0a\x01a" * (SIZE // 3)),
    "unknown fields": ("rpc", b"\x90\x03\x01" * (SIZE // 3)),
    "tensors of a message": ("rpc", b"\x1a\x00" * (SIZE // 2)),
    "a long key of a message": ("rpc", message(key=["k" * SIZE], value=[""])),
    "a long method": ("rpc", message(method="k" * SIZE)),
    "bytes of a tensor": ("rpc", message(tensors=[pb.Tensor(byte_data=b"x" * SIZE)])),
}
# A harmless one takes 1 to 8 ns a byte; before, those above took 20 to 700 ns, or stopped all other
# threads for as long as they took.
TIMES = 2


def codec_of(form: str) -> Codec:
    return ProtoCodec() if form == "rpc" else BodyCodec("")


def seconds(step: Callable[[], object]) -> float:
    """Return the computing time of the quickest of some tries."""
    times = []
    for _ in range(TRIES):
        began = time.thread_time()
        with contextlib.suppress(ServingError, NotQuick):
            step()
        times.append(time.thread_time() - began)
    return min(times)


def unit() -> float:
    """Return the computing time of a fixed piece of work, a millisecond or so, as of now.

    How fast a machine is differs by its make and by what runs beside this.
    """
    return seconds(lambda: sum(number * number for number in range(20_000)))


def read(form: str, body: bytes, hints: Hints) -> None:
    codec = codec_of(form)
    codec.service_in(body, hints)
    codec.extra_bytes(body)
    codec.read(body, hints)


@pytest.mark.parametrize("name", COSTLY)
def test_a_body_made_to_be_slow_costs_about_as_much_as_an_ordinary_one(name: str) -> None:
    form, body = COSTLY[name]
    ordinary = seconds(lambda: read(form, ORDINARY[form], HINTS))
    # Something for the parts that may be there, whatever the body's size is.
    allowed = TIMES * ordinary + 40 * unit()
    assert seconds(lambda: read(form, body, HINTS)) < allowed


@pytest.mark.parametrize("size", [2**12, 2**15, 2**16, 2**18, 2**19, 2**20])
@pytest.mark.parametrize("name", COSTLY)
def test_what_is_read_on_the_event_loop_is_quick(name: str, size: int) -> None:
    """Less than a millisecond on a quiet core; it was 20 to 500 of them."""
    form, body = COSTLY[name]
    quickly = HINTS.quickly()
    allowed = 12 * unit()
    for cut in (body[:size], body[:size] + body[-100:]):
        assert seconds(lambda cut=cut: read(form, cut, quickly)) < allowed  # type: ignore[misc]


@pytest.mark.parametrize(("form", "size"), [("json", 2**18), ("rpc", 2**18), ("upload", 2**17)])
def test_ordinary_bodies_are_read_on_the_event_loop(form: str, size: int) -> None:
    bodies = {
        "json": envelope(b'"' + BASE64[:size] + b'"'),
        "rpc": message(key=["image"], value=[BASE64[:size].decode()]),
        "upload": upload(part(FILE, b"\xff\xd8" + BASE64[:size])),
    }
    read(form, bodies[form], HINTS.quickly())  # would raise NotQuick


@pytest.mark.parametrize("name", COSTLY)
def test_what_an_error_quotes_is_cut(name: str) -> None:
    form, body = COSTLY[name]
    message = ""
    try:
        read(form, body, HINTS)
    except ServingError as error:
        message = str(error)
    assert len(message) < 500


def test_images_beyond_the_limit_are_counted_before_they_are_decoded() -> None:
    bodies = {
        "json": b'{"key": [%b], "value": [%b]}'
        % (b",".join([b'"a"'] * 65), b",".join([b'"!"'] * 65)),
        "form": b"&".join([b"image=" + BASE64[:40]] * 65),
        "upload": upload(*[part(FILE)] * 65),
        "rpc": message(key=["a"] * 65, value=["!"] * 65),
        "tensors": message(tensors=[pb.Tensor(str_data=["!"])] * 65),
    }
    for form, body in bodies.items():
        codec = ProtoCodec() if form in ("rpc", "tensors") else BodyCodec("")
        with pytest.raises(ServingError, match="65 images in one request; the most is 64"):
            codec.read(body, HINTS)


def test_many_parts_are_refused_by_the_number_of_images_that_a_request_may_have() -> None:
    many = b'{"key": [], "value": [], "other": [' + b"1," * 3000 + b"1]}"
    with pytest.raises(ServingError, match="more than 2024 parts"):
        BodyCodec("").read(many, HINTS)
    # A service that takes more images takes more parts.
    with pytest.raises(ServingError, match="no image"):
        BodyCodec("").read(many, Hints("waste", max_images=1000))


def with_escapes(text: bytes) -> bytes:
    return text.replace(b"+", b"%2B").replace(b"/", b"%2F")


KINDS: dict[str, tuple[str, bytes]] = {
    "json": ("json", ORDINARY["json"]),
    "escaped slashes": ("json", envelope(b'"' + BASE64.replace(b"/", rb"\/") + b'"')),
    "lines": ("json", string(rb"QUJDQUJD\n")),
    "another alphabet": ("json", string(b"_-AA")),
    "escapes": ("json", envelope(b'"' + with_escapes(BASE64) + b'"')),
    "quotes": ("json", envelope(b"\"b'" + BASE64 + b"'\"")),
    "UTF-16": ("json", COSTLY["UTF-16"][1]),
    "text": ("text", BASE64),
    "text of another alphabet": ("text", b"_-AA" * (SIZE // 4)),
    "form": ("form", b"image=" + BASE64),
    "form with escapes": ("form", b"image=" + with_escapes(BASE64)),
    "upload": ("upload", ORDINARY["upload"]),
    "field of an upload": ("upload", upload(part(b'name="image"', BASE64))),
    "rpc": ("rpc", ORDINARY["rpc"]),
    "rpc of another alphabet": ("rpc", message(key=["image"], value=["_-AA" * (SIZE // 4)])),
    "tensor": ("rpc", COSTLY["bytes of a tensor"][1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_reading_takes_no_more_than_three_times_the_memory_of_a_body(kind: str) -> None:
    """The body itself included; a repair that copied at each step took six times as much."""
    form, body = KINDS[kind]
    tracemalloc.start()
    try:
        request = codec_of(form).read(body, HINTS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(request.images) == 1
    assert len(body) + peak < 3.1 * len(body)
