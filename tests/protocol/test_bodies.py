"""What programs really send to /<service>/prediction: taken, or said what it is and what to send.

Each body goes through `BodyCodec`, which the address has; the values of RPC are in the last tests.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import sys
import time
import urllib.parse
from typing import Any

import cv2
import numpy as np
import pytest

from protocol.bodies import BodyCodec
from protocol.codec import Hints
from protocol.errors import InvalidRequest, UndecodableImage
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.base64_text import decode_base64
from protocol.key_value.codec import ProtoCodec
from protocol.request import ClassifyRequest

FORM = "application/x-www-form-urlencoded"
_NOISE = np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8)
SUFFIXES = ("jpg", "png", "bmp", "webp", "tiff")
FILES = [cv2.imencode(f".{suffix}", _NOISE)[1].tobytes() for suffix in SUFFIXES]
JPEG = FILES[0]
TEXT = base64.b64encode(JPEG).decode()
URL_SAFE = base64.urlsafe_b64encode(JPEG).decode()
assert {"+", "/"} < set(TEXT)


def read(body: bytes, content_type: str = "", **options: str) -> ClassifyRequest:
    codec = BodyCodec(content_type)
    return codec.read(body, Hints("waste", content_type, options))


def images(body: bytes, content_type: str = "", **options: str) -> list[bytes]:
    return [image.data for image in read(body, content_type, **options).images]


def envelope(*values: Any, keys: tuple[str, ...] = ("image",)) -> bytes:
    return json.dumps({"key": keys, "value": values}).encode()


def refusal(body: bytes, content_type: str = "", **options: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(body, content_type, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "kind",
    ["", FORM, "text/plain", "binary/octet-stream", "application/json", "image/jpeg", "*/*",
     "multipart/form-data; boundary=b", "application/octet-stream", "application/pdf"],
)  # fmt: skip
@pytest.mark.parametrize("image", FILES, ids=SUFFIXES)
def test_a_raw_image_is_one_whatever_its_content_type_says(image: bytes, kind: str) -> None:
    assert images(image, kind) == [image]
    assert BodyCodec(kind).extra_bytes(image) == 0


@pytest.mark.parametrize("data", [b"GIF89a\x05\x00\x05\x00", b"\0\0\0\x20ftypheic"])
def test_other_files_are_given_to_the_decoder_which_names_them(data: bytes) -> None:
    assert images(data) == [data]


@pytest.mark.parametrize("kind", ["", FORM, "image/jpeg"])
@pytest.mark.parametrize("image", FILES, ids=SUFFIXES)
def test_an_image_whose_line_ends_curl_has_left_out(image: bytes, kind: str) -> None:
    lines = image.replace(b"\r", b"\n").split(b"\n")
    eaten = b"".join(line.split(b"\0")[0] for line in lines)
    if len(eaten) < 32:
        eaten = b"".join(lines).replace(b"\0", b"")
    with pytest.raises(UndecodableImage, match="--data-binary @FILE"):
        read(eaten, kind)


@pytest.mark.parametrize("kind", ["", FORM, "text/plain", "application/octet-stream", "image/png"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_the_envelope_whatever_its_content_type_says(kind: str, encoding: str) -> None:
    body = (" \n" + envelope(TEXT).decode()).encode(encoding)
    assert images(body, kind) == [JPEG]


@pytest.mark.parametrize("kind", ["", FORM, "application/json", "text/plain"])
def test_an_upload_is_one_whatever_its_content_type_says(kind: str) -> None:
    head = b'--x-1\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n'
    assert images(head + JPEG + b"\r\n--x-1--\r\n", kind) == [JPEG]


TAKEN = {
    "plain": TEXT,
    "leading blank": " " + TEXT,
    "leading line break": "\r\n" + TEXT,
    "MIME": base64.encodebytes(JPEG).decode(),
    "indented": TEXT[:76] + "\n      " + TEXT[76:],
    "groups": " ".join(TEXT[i : i + 4] for i in range(0, len(TEXT), 4)),
    "URL-safe": URL_SAFE,
    "URL-safe without padding": URL_SAFE.rstrip("="),
    "str of bytes": str(base64.b64encode(JPEG)),
    "str of MIME bytes": str(base64.encodebytes(JPEG)),
    "double quotes": f'b"{TEXT}"',
    "JSON in JSON": json.dumps(TEXT),
    "data URL": "data:image/jpeg;base64," + TEXT,
    "data URL in capitals": "DATA:image/jpeg;BASE64," + TEXT,
    "data URL behind a blank": "\n data:image/jpeg;base64," + TEXT,
    "percent-encoded": urllib.parse.quote(TEXT, safe=""),
    "percent-encoded data URL": urllib.parse.quote("data:image/jpeg;base64," + TEXT, safe=""),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_base64_in_the_forms_in_which_it_is_sent(text: str) -> None:
    assert images(envelope(text)) == [JPEG]
    message = pb.Request(key=["image"], value=[text]).SerializeToString()
    assert [image.data for image in ProtoCodec().read(message, Hints()).images] == [JPEG]
    tensor = pb.Tensor(name="image", str_data=[text])
    message = pb.Request(tensors=[tensor]).SerializeToString()
    assert [image.data for image in ProtoCodec().read(message, Hints()).images] == [JPEG]


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_base64_of_many_pieces(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("protocol.base64_repair._PIECE", 61)
    assert decode_base64(memoryview(text.encode())) == JPEG


@pytest.mark.parametrize("kind", ["", "text/plain", FORM, "application/octet-stream"])
@pytest.mark.parametrize("name", ["plain", "MIME", "URL-safe", "data URL", "JSON in JSON"])
def test_base64_alone_as_the_body(name: str, kind: str) -> None:
    assert images(TAKEN[name].encode(), kind, topk="3") == [JPEG]


REFUSED = {
    "URL": ("https://example.com/a.jpg", "it is a URL, and no URL is fetched"),
    "file URL": ("file:///data/a.jpg", "it is a URL"),
    "path": ("/data/images/a.jpg", "it is a path, and no file of the service is read"),
    "Windows path": (r"C:\images\a.jpg", "it is a path"),
    "file name": ("图片 1.JPEG", "it is a path"),
    "relative path": ("../a.png", "it is a path"),
    "repr": (repr(JPEG), "it is Python's repr of raw bytes; send base64.b64encode"),
    "SVG": ("data:image/svg+xml;utf8,<svg>", "it is an SVG drawing"),
    "flag": ("normal", "'normal' is too short to be an image: leave this key out, or send the"),
    "Chinese flag": ("高清", "'高清' is too short to be an image: leave this key out, or send the"),
    "words": ("no image at all", "it has blanks within; every key but topk and"),
    "both alphabets": (TEXT + URL_SAFE, "both alphabets"),
    "cut": (TEXT.rstrip("=")[:-1], "every key but topk and threshold is an image"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_base64_is_named(text: str, reason: str) -> None:
    said = refusal(envelope(TEXT, text, keys=("image", "imageType")))
    assert said.startswith("value[1] (key 'imageType') is not base64: ")
    assert reason in said
    message = pb.Request(key=["image", "imageType"], value=[TEXT, text]).SerializeToString()
    with pytest.raises(InvalidRequest) as caught:
        ProtoCodec().read(message, Hints())
    assert str(caught.value) == said


@pytest.mark.parametrize("seed", range(40))
def test_a_plus_that_became_a_blank_is_never_left_out_in_silence(seed: int) -> None:
    """Any number of them: a quarter of such texts has the right length without its blanks."""
    text = base64.b64encode(random.Random(seed).randbytes(900 + seed)).decode()
    lost = text.replace("+", " ")
    assert lost.count(" ") > 3
    for sent in (lost, "\n".join(lost[i : i + 76] for i in range(0, len(lost), 76))):
        said = refusal(envelope(sent))
        place = sent.index(" ") + 1
        assert f"character {place} is a blank where base64 has +" in said
        assert "%2B" in said
        assert "character" in refusal(envelope("data:image/png;base64," + sent))


def test_one_plus_that_became_a_blank() -> None:
    data = JPEG.replace(b"\xf8", b"\xf9")
    text = base64.b64encode(data[:300]).decode().replace("+", "/")
    lost = text[:200] + " " + text[201:]
    assert "character 201 is a blank" in refusal(envelope(lost))


@pytest.mark.parametrize("kind", [FORM, "", "text/plain"])
@pytest.mark.parametrize(
    "body",
    [
        urllib.parse.urlencode({"image": TEXT, "topk": "3"}),
        f"image={TEXT}&topk=3",
        f"topk=3&image={URL_SAFE}",
        f"image={urllib.parse.quote('data:image/jpeg;base64,' + TEXT)}&topk=3",
        urllib.parse.urlencode({"image": base64.encodebytes(JPEG).decode(), "topk": "3"}),
        "topk=3&image=" + TEXT.replace("/", "%2f").replace("+", "%2b"),
        f"image={TEXT}&topk=3&".rstrip("="),
    ],
    ids=["encoded", "by hand", "URL-safe", "data URL", "MIME", "small letters", "end"],
)
def test_a_form_with_an_image_in_base64(body: str, kind: str) -> None:
    request = read(body.encode(), kind)
    assert [image[:2] for image in request.images] == [(JPEG, 3)]


def test_the_envelope_as_a_form_which_requests_sends_with_data() -> None:
    fields = {"key": ["image", "topk", "other"], "value": [TEXT, "3", TEXT], "logid": "7"}
    request = read(urllib.parse.urlencode(fields, doseq=True).encode(), FORM)
    assert [image[:2] for image in request.images] == [(JPEG, 3), (JPEG, 3)]
    assert request.log_id == 7
    fields["key"].append("more")
    body = urllib.parse.urlencode(fields, doseq=True).encode()
    assert "the field 'key' ('image') is no option" in refusal(body, FORM)


def test_json_that_was_encoded_twice_and_the_repr_of_a_dict() -> None:
    assert "it was encoded twice" in refusal(json.dumps(envelope(TEXT).decode()).encode())
    assert "Python's repr and no JSON; send json.dumps" in refusal(
        str({"key": ["image"], "value": [TEXT]}).encode()
    )


def test_a_form_whose_plus_was_not_encoded_while_the_rest_was() -> None:
    body = "image=" + TEXT.replace("/", "%2F").replace("=", "%3D")
    assert "is a blank where base64 has +" in refusal(body.encode(), FORM)


def test_a_form_of_too_many_fields_and_one_without_an_image() -> None:
    assert "more than 1000 fields" in refusal(b"topk=1&" * 1001, FORM)
    assert "no image in the form" in refusal(b"topk=1", FORM)
    assert "not JSON" in refusal(b"%7B%22key%22", FORM)


def upload(name: str, value: str) -> bytes:
    return (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        + b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        + JPEG + b"\r\n--b--\r\n"
    )  # fmt: skip


def test_base64_in_a_field_of_an_upload_is_an_image() -> None:
    assert images(upload("image", TEXT)) == images(upload("x", URL_SAFE)) == [JPEG, JPEG]
    assert images(upload("image", "data:image/png;base64," + TEXT)) == [JPEG, JPEG]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("top_k", "3", r"'top_k' \('3'\) is no option; did you mean topk\?"),
        ("topK", "3", r"did you mean topk\?"),
        ("tresh", "0.5", r"did you mean threshold\?"),
        (
            "imageType",
            "normal",
            r"'imageType' \('normal'\) is no option; leave it out \(options: topk, thres",
        ),
        ("flag", "true", r"^the field 'flag' \('true'\) is no option; leave it out"),
        ("path", "/data/images/of/mine/and/yours/a.jpg", "it is a path"),
        ("image", TEXT[:-3], "send the image as a file, with curl -F image=@a.jpg"),
        ("note", base64.b64encode(b"a text, and no image at all").decode(), "base64 of a text"),
    ],
)
def test_a_field_that_is_no_option_and_no_image(name: str, value: str, reason: str) -> None:
    form = urllib.parse.urlencode([("image", TEXT), (name, value)]).encode()
    for body in (upload(name, value), form):
        with pytest.raises(InvalidRequest, match=reason):
            read(body)


@pytest.mark.parametrize(
    ("name", "near"),
    [("top_k", "topk"), ("topK", "topk"), ("top-k", "topk"), ("Threshold", "threshold"),
     ("log-id", "logid"), ("Form", "form"), ("score_threshold", "threshold")],
)  # fmt: skip
def test_a_parameter_of_the_address_that_is_no_option_names_the_nearest(
    name: str, near: str
) -> None:
    form = urllib.parse.urlencode({"image": TEXT}).encode()
    for body in (JPEG, envelope(TEXT), TEXT.encode(), upload("topk", "1"), form):
        said = refusal(body, **{name: "3"})
        assert said.startswith(f"the address has the parameter {name!r}, which is no option; did")
        assert f"did you mean {near}?" in said
    assert "(options: topk, threshold, logid, form)" in refusal(JPEG, utm="x")


def test_parameters_of_others_in_the_address() -> None:
    assert images(JPEG, _="1700000000", _trace="x", logid="7", log_id="8") == [JPEG]


@pytest.mark.parametrize("key", ["top_k", "topK", "TopK", "top-k", "Threshold", "thres_hold"])
def test_an_option_in_another_spelling_is_no_image(key: str) -> None:
    right = "threshold" if key.lower().startswith("thr") else "topk"
    said = refusal(envelope(TEXT, "3", keys=("image", key)))
    assert said == f"the key {key!r} is no option; write {right!r}"
    message = pb.Request(key=["image", key], value=[TEXT, "3"]).SerializeToString()
    with pytest.raises(InvalidRequest, match="is no option; write"):
        ProtoCodec().read(message, Hints())


def test_a_log_id_among_the_keys() -> None:
    said = refusal(envelope(TEXT, "3", keys=("image", "log_id")))
    assert said == 'logid stands beside "key" and "value", not among the keys'


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": TEXT}, '"key" is missing; this is a request to PaddleX 3, which this'),
        ({"feed": [{"x": TEXT}], "fetch": ["prediction"]}, "Paddle Serving's WebService without"),
        ({"inputs": []}, "KServe v2"),
        ({"images": [TEXT]}, "PaddleHub"),
        ({"instances": [{"b64": TEXT}]}, "TensorFlow"),
        ({"data": TEXT}, '"key" is missing; send {"key": ["image"], "value": ["<base64>"]}'),
        ({"key": "image", "value": TEXT}, '"key" must be a list, got a string; send {"key": ['),
        ({"key": ["image"], "value": [[1, 2]]}, "got a list; every key but topk and threshold"),
    ],
)
def test_json_of_another_server(fields: Any, reason: str) -> None:
    said = refusal(json.dumps(fields).encode())
    assert reason in said
    assert '["image"]' in said or "base64 string" in said


_MANY = 2**22


@pytest.mark.parametrize(
    "value",
    [
        "%41" * _MANY,
        "%2B" * _MANY,
        "%" * _MANY,
        "b'" + r"\n" * _MANY + "'",
        "A" + " " * _MANY + "B",
        " " * _MANY + "A B",
        "AA " * _MANY,
        "A" * _MANY + " " + "A" * _MANY,
        "-" * _MANY + "*",
        "/" * _MANY + ".",
        "data:" * _MANY,
    ],
    ids=range(11),
)
def test_values_that_were_made_to_be_slow(value: str) -> None:
    """Four to twelve megabytes: tens of milliseconds on a quiet core."""
    form = b"image=" + value.encode()
    for body in (envelope(value), envelope(TEXT, TEXT, keys=("image", value)), form):
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            read(body)
        assert time.process_time() - began < 5


def test_escapes_of_no_base64_end_the_repair_at_the_first_piece() -> None:
    def seconds(body: bytes) -> float:
        began = time.process_time()
        with pytest.raises(InvalidRequest, match="no escape of base64"):
            read(body)
        return time.process_time() - began

    good = b"image=" + b"%2B" * 2**18
    assert seconds(good + b"%" * 2**24) < 5 * seconds(good + b"A" * 2**24 + b"%")


def test_plus_signs_become_blanks_while_other_threads_run() -> None:
    """In one call they took a third of a second for 60 MB, and no other thread ran meanwhile."""
    value = TEXT.encode() + b"%2B" + b"+" * 2**19
    calls: list[str] = []
    sys.setprofile(lambda _, event, what: calls.append(what.__name__) if event == "c_call" else 0)
    try:
        with pytest.raises(InvalidRequest, match="the field 'image' is no image in base64"):
            read(b"image=" + value)
    finally:
        sys.setprofile(None)
    assert calls.count("replace") > 2


def test_bodies_that_were_made_to_be_slow() -> None:
    for body in (
        b" " * _MANY + b"{'",
        b"a=&" * _MANY,
        b"=" * _MANY,
        b"--" * _MANY,
        json.dumps(" " * _MANY).encode(),
        json.dumps({"key": ["a"], "value": ["aGk="], "x" * _MANY: 1}).encode(),
    ):
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            read(body)
        assert time.process_time() - began < 5
