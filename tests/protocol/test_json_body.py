"""Bodies and messages are read as `json`, `base64` and protobuf read them, also where long."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from protocol.codec import MOST_PARTS, Hints
from protocol.errors import InvalidRequest
from protocol.key_value import json_body, proto_body, skeleton
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.base64_text import decode_base64
from protocol.key_value.json_body import load_json
from protocol.key_value.request import request_from_json, request_from_message
from protocol.key_value.sizes import check_proto_size
from protocol.request import encoded

IMAGE = random.Random(1).randbytes(5000)
TEXT = base64.b64encode(IMAGE).decode()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat strings of a few bytes as long ones, and cut them into pieces that end anywhere."""
    monkeypatch.setattr(skeleton, "LONG", 8)
    monkeypatch.setattr(proto_body, "LONG", 8)
    monkeypatch.setattr(json_body, "PIECE", 61)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"key": ["image"], "value": [TEXT]}).encode(),
        json.dumps(
            {"key": ["a"], "value": [1, None, [{}], 0.5, {"b": ["c"]}, True, "\u56fe"]}
        ).encode(),
        json.dumps({"key": ["\u56fe"], "value": ["\U0001f351"]}, ensure_ascii=False).encode(),
        json.dumps({"key": ["a"], "value": ["\U0001f351"], "logid": 10**30}).encode(),
        json.dumps({"key": [], "value": [], "log_id": "7", "tensors": [{"name": "a"}]}).encode(),
        b'{"key": ["a"], "key": ["b"], "value": [1], "value": [2]}',
        b' \r\n{"k\\u0065y" : [ "a" ] , "value":[-0.1e2]}\n',
        json.dumps({"key": ["a"], "value": [TEXT]}).encode("utf-16"),
        json.dumps({"key": ["a"], "value": [TEXT]}).encode("utf-8-sig"),
        json.dumps({"key": "a", "value": [TEXT]}).encode(),
        json.dumps({"value": ["x"] * 9000}).encode(),
        json.dumps(['quotes "' * 50, "\\" * 51 + '"', "\\" * 50]).encode(),
        b'"' + TEXT.encode() + b'"',
        b"null",
    ],
)
def test_short_strings_and_other_values_are_read_as_json_reads_them(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skeleton, "LONG", len(body))
    assert load_json(body) == json.loads(body)


@pytest.mark.parametrize("name", ["topk", "top_k", "topK", "Threshold"])
def test_an_option_beside_the_keys_is_no_field_to_skip(name: str) -> None:
    body = json.dumps({"key": ["a"], "value": [TEXT], "other": 1, name: 3}).encode()
    with pytest.raises(InvalidRequest, match=f'^\'{name}\' stands beside "key" and "value"'):
        request_from_json(body, Hints("waste"))


def test_fields_that_are_no_part_of_the_envelope_are_left_out() -> None:
    body = json.dumps({"x": {"y": [TEXT]}, "key": ["a"], "value": ["b"], "name": None}).encode()
    assert load_json(body) == {"key": ["a"], "value": ["b"]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"key": ["image"], "value": ["' + TEXT.encode(),
        b'{"key": ["image"], "value": ["' + TEXT.encode() + b'"',
        b'{"key": ["image"], "value": ["' + TEXT.encode() + b'"]} x',
        b'{"key": ["image"], "value": ["' + TEXT.encode() + b'\\"]}',
        b'{"key": ["image"], "value": [01]}',
        b'"" ' * 9_000,
        b"1" * 9000,
        b"",
        b" ",
    ],
)
def test_bodies_that_are_not_json_are_refused(body: bytes) -> None:
    for read in (json.loads, load_json):
        with pytest.raises(ValueError, match=r"."):
            read(body)


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b"1e999", b'"\xff"', b'"\xed\xa0\x80"'],
)
def test_nan_and_surrogates_are_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        request_from_json(b'{"key": ["topk"], "value": [' + value + b"]}", Hints("waste"))


@pytest.mark.parametrize("digits", [99, 101, 4301, 5000])
def test_a_number_of_thousands_of_digits_is_no_option(digits: int) -> None:
    number = "9" * digits
    for option in ("topk", "threshold"):
        if (option, digits) == ("topk", 99):
            continue
        body = f'{{"key": ["image", "{option}"], "value": ["", {number}]}}'
        with pytest.raises(InvalidRequest, match=f"{option} must be a .*number"):
            request_from_json(body.encode(), Hints("waste"))
    with pytest.raises(InvalidRequest, match="logid must be a whole number of 64 bits"):
        request_from_json(f'{{"key": [], "value": [], "logid": {number}}}'.encode(), Hints("waste"))
    with pytest.raises(InvalidRequest, match="got a number; every key but topk and threshold"):
        request_from_json(f'{{"key": ["image"], "value": [{number}]}}'.encode(), Hints("waste"))


@pytest.mark.parametrize("padding", range(61))  # pieces end everywhere within a surrogate
def test_a_key_may_be_a_file_name_in_another_encoding(padding: int) -> None:
    name = "玻璃瓶.jpg".encode("gbk").decode("utf-8", errors="surrogateescape")
    images = {"x" * padding: "aGk=", name: "aGFs", "한국 \U0001f600 \\ud800": "bG8="}
    body = json.dumps({"key": list(images), "value": list(images.values())}).encode()
    assert rb"\udc" in body
    request = request_from_json(body, Hints("waste"))
    assert [image.data for image in request.images] == [b"hi", b"hal", b"lo"]


@pytest.mark.parametrize("value", [r"\ud800", r"\udcc4" + "A" * 20])
def test_a_value_with_a_surrogate_is_no_base64(value: str) -> None:
    with pytest.raises(InvalidRequest, match="is not base64"):
        request_from_json(b'{"key": ["image"], "value": ["%b"]}' % value.encode(), Hints("waste"))


def test_a_body_of_surrogates_is_refused() -> None:
    body = b'{"key": ["%b"], "value": [""]}' % (rb"\udcc4" * 10_001)
    with pytest.raises(InvalidRequest, match="has more than 2048 bytes"):
        request_from_json(body, Hints("waste"))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 9_000,
        b'{"key": ["a"], "value": [' + b"[" * 9_000 + b"]" * 9_000 + b"]}",
        b'{"key": ["a"], "value": [], "ignored": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
        b'{"key": ["a"], "value": [], "ignored": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_001,
    ],
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        request_from_json(body, Hints("waste"))


def test_json_of_too_many_parts_is_refused() -> None:
    for body in (
        b'["' + TEXT.encode() + b'"' + b",1" * (MOST_PARTS + 1) + b"]",
        b"[" + b"1," * (MOST_PARTS + 1) + b"1]",
    ):
        with pytest.raises(InvalidRequest, match="parts"):
            load_json(body)


def envelope(value: str, **fields: Any) -> bytes:
    return json.dumps({"key": ["image"], "value": [value], **fields}).encode()


@pytest.mark.parametrize(
    "body",
    [
        envelope(TEXT),
        envelope("data:image/jpeg;base64," + TEXT),
        envelope("\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))),
        envelope(TEXT).replace(b"/", b"\\/"),
        envelope("data:image/jpeg;base64," + TEXT).replace(b"/", b"\\/"),
        envelope(TEXT, ignored='much "text" without a use' * 9),
        envelope(" ".join(TEXT)),
        envelope(TEXT).replace(TEXT.encode(), b"".join(b"\\u%04x" % ord(c) for c in TEXT)),
    ],
)
def test_the_image_in_a_long_string(body: bytes) -> None:
    assert request_from_json(body, Hints("waste")).images == encoded([IMAGE])


@pytest.mark.parametrize(
    "value",
    [
        TEXT + "!",
        "!" + TEXT,
        TEXT[:1000] + "\u56fe" + TEXT[1000:],
        TEXT[:-3],
        base64.b64encode(b"x" * 100).decode() + TEXT,  # padding within
        TEXT[:61] + "=" + TEXT[61:],
        '"' * 500,
        "\\" * 99,
        "\\\\n" * 99,
        "\\/" + TEXT,
        TEXT + "\\q",
        "data:image/jpeg;base64" + TEXT,
    ],
)
def test_a_long_string_that_is_not_base64_is_reported(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^value\[0\] \(key 'image'\) is not base64"):
        request_from_json(envelope(value), Hints("waste"))


def test_raw_line_breaks_in_a_string_are_not_json() -> None:
    body = envelope(TEXT).replace(TEXT[:100].encode(), TEXT[:100].encode() + b"\n")
    with pytest.raises(InvalidRequest):
        request_from_json(body, Hints("waste"))


def test_long_keys_and_options_are_cut_in_messages() -> None:
    body = json.dumps({"key": ["k" * 99], "value": ["!" * 99]}).encode()
    with pytest.raises(InvalidRequest, match="kkkkkkkk"):
        request_from_json(body, Hints("waste"))
    body = json.dumps({"key": ["topk", "image"], "value": ["9" * 5000, TEXT]}).encode()
    with pytest.raises(InvalidRequest, match="topk must be"):
        request_from_json(body, Hints("waste"))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 44, 45, 46, 61, 62, 183, 184, 1000])
def test_base64_of_any_length(length: int) -> None:
    text = base64.b64encode(IMAGE[:length]).decode()
    assert decode_base64(text) == IMAGE[:length]
    assert decode_base64(text + "\n") == IMAGE[:length]
    assert decode_base64(memoryview(b"data:," + text.encode())) == IMAGE[:length]
    bad = (text + "A", text + "!", text + "=", text + "====" + text, "=" + text, text + "\u56fe")
    for each in bad:
        with pytest.raises(ValueError, match=r"."):
            decode_base64(each)
        with pytest.raises(ValueError, match=r"."):
            decode_base64(memoryview(each.encode()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("QUJ", "incorrect padding"),
        ("QUI=QUI=", "excess data after padding"),
        ("QUJD=", "excess padding"),
        ("QU-+", "both alphabets"),
        ("QUJDQ", "number of data characters"),
        ("data:image/png;base64QUJD", "non-base64 digit"),
    ],
)
def test_the_reason_why_a_text_is_not_base64(text: str, reason: str) -> None:
    message = rf"^value\[0\] \(key 'image'\) is not base64: .*{reason}"
    for padding in ("", " " * 99):  # of a short and of a long string
        with pytest.raises(InvalidRequest, match=message):
            request_from_json(envelope(text + padding), Hints("waste"))
        message_bytes = pb.Request(key=["image"], value=[text + padding]).SerializeToString()
        with pytest.raises(InvalidRequest, match=message):
            request_from_message(message_bytes, Hints("waste"))


@pytest.mark.parametrize("text", [TEXT, "data:image/png;base64," + TEXT, "\n".join(TEXT)])
def test_the_images_in_the_long_values_of_a_message(text: str) -> None:
    message = pb.Request(
        key=["first", "topk", "second"],
        value=[text, "3", base64.b64encode(b"x" * 99).decode()],
        tensors=[pb.Tensor(name="third", byte_data=b"y" * 99)],
        name="waste",
        logid=7,
    )
    request = request_from_message(message.SerializeToString(), Hints("waste"))
    assert request.images == encoded([IMAGE, b"x" * 99, b"y" * 99], 3)
    assert (request.service, request.log_id) == ("waste", 7)


@pytest.mark.parametrize(
    ("keys", "values", "reason"),
    [
        (["image"], ["!" * 99], "is not base64"),
        (["image"], [TEXT + "\u56fe" * 99], "is not base64"),
        (["image", "topk"], [TEXT, "9" * 99], "topk must be"),
        (["image"], [TEXT, TEXT], "each key needs its value"),
    ],
)
def test_wrong_long_values_of_a_message_are_reported(
    keys: list[str], values: list[str], reason: str
) -> None:
    message = pb.Request(key=keys, value=values).SerializeToString()
    with pytest.raises(InvalidRequest, match=reason):
        request_from_message(message, Hints("waste"))


def test_a_long_value_that_is_cut_off_is_reported() -> None:
    message = pb.Request(key=["image"], value=[TEXT]).SerializeToString()
    for cut in (message[:-1], message[:-1000], message + b"\x12\xff\x7fabc"):
        with pytest.raises(InvalidRequest):  # noqa: PT012 - either may find it
            check_proto_size(cut)
            request_from_message(cut, Hints("waste"))
