from __future__ import annotations

import base64
import json

import pytest

from protocol.codec import Hints
from protocol.errors import InvalidRequest, Overloaded, ServingError, TooLarge, UndecodableImage
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.received import reply_from_json, reply_from_proto
from protocol.key_value.reply import (
    error_to_json,
    error_to_proto,
    reply_to_json,
    reply_to_proto,
)
from protocol.key_value.request import (
    request_from_json,
    request_from_message,
    request_to_json,
    request_to_proto,
)
from protocol.reply import Category, ClassifyReply, whole_failure
from protocol.request import ClassifyRequest, encoded

IMAGE = bytes(range(256))
TEXT = base64.b64encode(IMAGE).decode()


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_the_request_of_the_paddleclas_sample() -> None:
    request = request_from_json(body(key=["image"], value=[TEXT]), Hints("waste"))
    assert request == ClassifyRequest(encoded([IMAGE]), "waste")


def test_every_key_but_an_option_is_an_image_also_when_keys_repeat() -> None:
    other = base64.b64encode(b"second").decode()
    request = request_from_json(
        body(
            key=["image", "topk", "image", "threshold", "pipeline.profile"],
            value=[TEXT, "3", other, 0.5, "1"],
            logid=7,
        ),
        Hints("waste"),
    )
    assert request.images == encoded([IMAGE, b"second"], 3, 0.5)
    assert request.log_id == 7


@pytest.mark.parametrize("shape", ["data:image/png;base64,{}", "{}\n", " {} "])
def test_harmless_dress_of_base64_is_taken_off(shape: str) -> None:
    request = request_from_json(body(key=["image"], value=[shape.format(TEXT)]), Hints("waste"))
    assert request.images == encoded([IMAGE])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "body is empty"),
        (b"key=image", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 9_000, "not JSON"),
        (b"[" * 100_000, "more than 10000 parts"),
        (b'{"key": [' + b"{}," * 10_001 + b'{}], "value": []}', "more than 10000 parts"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b"3", "a number"),
        (body(value=[TEXT]), '"key" is missing'),
        (body(key=["image"]), '"value" is missing'),
        (body(key="image", value=[TEXT]), '"key" must be a list, got a string'),
        (body(key=["image"], value=TEXT), '"value" must be a list, got a string'),
        (body(key=["image", "more"], value=[TEXT]), "key has 2 entries and value has 1"),
        (body(key=[1], value=[TEXT]), "must be a string"),
        (body(key=["image"], value=[5]), "must be a base64 string"),
        (body(key=["image"], value=["*not base64*"]), "not base64"),
        (body(key=["image"], value=["abc"]), "not base64"),
        (body(key=["image"], value=["图片"]), "not base64"),
        (body(key=[], value=[]), "no image"),
        (body(key=["topk"], value=["1"]), "no image"),
        (body(key=["image"], value=[TEXT], tensors=[{}]), "tensors"),
        (body(key=["image"], value=[TEXT], logid="x"), "logid"),
        (body(key=["image"], value=[TEXT], logid=2**63), "logid"),
    ],
)
def test_a_wrong_body_is_explained(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match="^(?s:.*)" + message.replace("*", r"\*")):
        request_from_json(raw, Hints("waste"))


@pytest.mark.parametrize("topk", [0, -1, "0", "many", 1.5, True, [], "1e3", "1_0", "\u0663"])
def test_a_topk_that_is_no_count_is_refused(topk: object) -> None:
    with pytest.raises(InvalidRequest, match="topk must be a whole number of at least 1"):
        request_from_json(body(key=["image", "topk"], value=[TEXT, topk]), Hints("waste"))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "nan", "high", True, "0.0_1"])
def test_a_threshold_outside_0_to_1_is_refused(threshold: object) -> None:
    with pytest.raises(InvalidRequest, match="threshold must be a number from 0 to 1"):
        request_from_json(body(key=["image", "threshold"], value=[TEXT, threshold]), Hints("waste"))


def test_requests_survive_both_wires() -> None:
    request = ClassifyRequest(encoded([IMAGE, b"two"], 3, 0.25), "waste", log_id=-5)
    assert request_from_json(request_to_json(request), Hints("waste")) == request
    message = request_to_proto(request)
    assert (message.name, message.method) == ("waste", "prediction")
    assert request_from_message(message.SerializeToString(), Hints("waste")) == request


def test_images_in_tensors_are_read() -> None:
    message = pb.Request(name="waste")
    message.tensors.add(name="image", elem_type=13, byte_data=IMAGE)
    message.tensors.add(name="more", elem_type=12, str_data=[TEXT])
    request = request_from_message(message.SerializeToString(), Hints("waste"))
    assert request.images == encoded([IMAGE, IMAGE])


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (pb.Tensor(name="image", float_data=[1.0]), "holds no image"),
        (pb.Tensor(name="image", byte_data=b"\x93NUMPY\x01\x00"), "numpy array"),
    ],
)
def test_tensors_without_an_image_are_explained(tensor: pb.Tensor, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        request_from_message(pb.Request(tensors=[tensor]).SerializeToString(), Hints("waste"))


def test_rpc_keys_without_values_are_explained() -> None:
    with pytest.raises(InvalidRequest, match="key has 1 entries and value has 0"):
        request_from_message(pb.Request(key=["image"]).SerializeToString(), Hints("waste"))


def test_images_with_different_options_do_not_fit_the_envelope() -> None:
    request = ClassifyRequest((*encoded([IMAGE], 1), *encoded([IMAGE], 2)), "waste")
    with pytest.raises(ValueError, match="one topk"):
        request_to_json(request)


REPLY = ClassifyReply(
    (
        (Category(4, "可回收物/塑料, clear", 0.75), Category(1, "可回收物/玻璃", 0.25)),
        UndecodableImage("the JPEG is cut off"),
        (),
    )
)


def test_the_answer_has_five_fields_and_values_of_json_text() -> None:
    fields = json.loads(reply_to_json(REPLY))
    assert list(fields) == ["err_no", "err_msg", "key", "value", "tensors"]
    assert (fields["err_no"], fields["err_msg"], fields["tensors"]) == (0, "", [])
    values = {k: json.loads(v) for k, v in zip(fields["key"], fields["value"], strict=True)}
    assert values["label"] == ["可回收物/塑料, clear", None, None]
    assert values["prob"] == [0.75, None, None]
    assert values["topk"][0][1] == {"class_id": 1, "label": "可回收物/玻璃", "score": 0.25}
    assert values["errors"] == [None, {"err_no": 5001, "err_msg": "the JPEG is cut off"}, None]


def test_errors_are_left_out_where_all_went_well() -> None:
    fields = json.loads(reply_to_json(ClassifyReply(REPLY.results[:1])))
    assert fields["key"] == ["label", "prob", "topk"]


def test_replies_survive_both_wires() -> None:
    for read in (
        reply_from_json(reply_to_json(REPLY)),
        reply_from_proto(pb.Response.FromString(reply_to_proto(REPLY).SerializeToString())),
    ):
        assert read.results[0] == REPLY.results[0]
        assert isinstance(read.results[1], UndecodableImage)
        assert read.results[2] == ()


def test_the_answer_of_the_official_service_is_read() -> None:
    answer = (
        b'{"err_no":0,"err_msg":"","key":["label","prob"],'
        b'"value":["[\'daisy\']","[0.9341402053833008]"],"tensors":[]}'
    )
    assert reply_from_json(answer).results == ((Category(-1, "daisy", 0.9341402053833008),),)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>502</html>", b"[]", b"{}", b'{"err_no":0,"err_msg":"","key":[],"value":[]}'],
)
def test_an_answer_of_something_else_is_a_serving_error(answer: bytes) -> None:
    with pytest.raises(ServingError, match="the server's reply"):
        reply_from_json(answer)


def test_errors_keep_their_class_over_both_wires() -> None:
    error = Overloaded("256 images wait")
    with pytest.raises(Overloaded, match="256 images wait"):
        reply_from_json(error_to_json(error))
    with pytest.raises(Overloaded, match="256 images wait"):
        reply_from_proto(error_to_proto(error))


def test_callers_see_no_details_of_an_unexpected_error() -> None:
    fields = json.loads(error_to_json(KeyError("/secret/path")))
    assert fields["err_no"] == 10000
    assert "secret" not in fields["err_msg"]


def test_a_request_fails_as_a_whole_only_when_all_its_images_did() -> None:
    first, second = UndecodableImage("one"), TooLarge("two")
    assert whole_failure(ClassifyReply((first, second))) is first
    assert whole_failure(REPLY) is None
