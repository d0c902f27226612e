"""Few bytes that would be much in memory are refused as bytes."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.codec import MOST_PARTS, Hints
from protocol.errors import InvalidRequest
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.codec import ProtoCodec
from protocol.key_value.request import request_to_proto
from protocol.key_value.sizes import check_proto_size
from protocol.request import ClassifyRequest, encoded

MANY = MOST_PARTS + 1


def request_from_bytes(data: bytes) -> ClassifyRequest:
    codec = ProtoCodec()
    return codec.read(data, Hints(codec.service_in(data, Hints())))


def tensor(**fields: Any) -> bytes:
    return pb.Request(tensors=[pb.Tensor(**fields)]).SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        b"\x1a\x00" * MANY,  # empty tensors
        b"\x0a\x00" * MANY,  # empty keys
        b"\x12\x00" * MANY,
        b"\x08\x01" * MANY,  # a field of another kind, kept as unknown
        pb.Request(tensors=[pb.Tensor(str_data=[""] * 200)] * 60).SerializeToString(),
        tensor(str_data=[""] * MANY),
        tensor(int64_data=[1] * MANY),
        tensor(float_data=[1.0] * MANY),
        tensor(shape=[1] * MANY),
        tensor(lod=[1] * MANY),
    ],
)
def test_many_parts_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="more than 10000 parts"):
        request_from_bytes(data)


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05ab", b"\x0f", b"\xff" * 20, b"\x1a\x02\x0a\x05", b"\x80", b"\x00\x00"],
)
def test_bytes_that_are_no_message_are_reported(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        request_from_bytes(data)


def test_requests_pass_with_everything_in_them() -> None:
    images = tuple(bytes([number]) * 100_000 for number in range(64))
    expected = ClassifyRequest(encoded(images, 3, 0.5), "waste", log_id=-7)
    assert request_from_bytes(request_to_proto(expected).SerializeToString()) == expected
    tensors = [
        pb.Tensor(name="image", byte_data=image, elem_type=13, shape=[1], lod=[0])
        for image in images
    ]
    message = pb.Request(tensors=tensors, name="waste", method="x", logid=-7, clientip="::1")
    assert request_from_bytes(message.SerializeToString()).images == encoded(images)


def test_what_a_request_may_hold_is_counted_once() -> None:
    exactly = pb.Request(key=[""] * MOST_PARTS).SerializeToString()
    check_proto_size(exactly)
    with pytest.raises(InvalidRequest):
        check_proto_size(exactly + b"\x0a\x00")


def test_an_error_shows_no_more_of_a_request_than_is_needed() -> None:
    long = "k" * 1_000_000
    for message in (
        pb.Request(key=[long], value=["*"]),
        pb.Request(tensors=[pb.Tensor(name=long)]),
        pb.Request(key=["image", "topk"], value=["", long]),
    ):
        with pytest.raises(InvalidRequest) as caught:
            request_from_bytes(message.SerializeToString())
        assert len(str(caught.value)) < 300


def test_the_service_is_read_off_the_bytes() -> None:
    message = pb.Request(
        key=["image"],
        value=["\x22\x03cat"],  # what a name looks like
        name="waste",
        method="prediction",
        logid=-1,
        tensors=[pb.Tensor(name="peach", byte_data=b"\x22\x03cat")],
    )
    assert check_proto_size(message.SerializeToString()) == "waste"
    again = message.SerializeToString() + pb.Request(name="\u8377").SerializeToString()
    assert check_proto_size(again) == pb.Request.FromString(again).name == "\u8377"
    assert check_proto_size(b"") == ""
    assert check_proto_size(b"\x22\x01\xff") == "\ufffd"
    assert check_proto_size(b"\x3d\0\0\0\0\x39" + b"\0" * 8 + b"\x22\x01w") == "w"
    with pytest.raises(InvalidRequest):
        check_proto_size(b"\x22")
