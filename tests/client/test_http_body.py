"""The form in which HttpClient sends: raw where one image needs nothing else, else the envelope."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from client.errors import BadReply
from client.http_body import PIECE_BYTES, raw_body
from client.http_client import HttpClient
from protocol.errors import Overloaded, UndecodableImage
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S

RAW, ENVELOPE = "application/octet-stream", "application/json"


def test_one_image_is_sent_raw_with_options_in_the_query(url: str, fake: Any) -> None:
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        categories = client.classify(b"can", topk=2, threshold=0.25, log_id=-77)
        client.classify(b"can")
    assert [category.label for category in categories] == ["can 0", "can 1"]
    assert fake.content_types == [RAW, RAW]
    assert fake.requests[0] == ClassifyRequest(encoded([b"can"], 2, 0.25), "waste", -77)


def test_a_query_of_the_address_is_kept(url: str, fake: Any) -> None:
    with HttpClient(f"{url}/waste/prediction?topk=3", timeout_s=PATIENCE_S) as client:
        assert len(client.classify(b"can", threshold=0.1)) == 3


def test_a_body_is_sent_in_large_pieces_whatever_its_bytes_are() -> None:
    """A photo has a byte of a newline in each 256: no piece ends there."""
    image = bytes(range(256)) * 1024
    pieces = list(raw_body(ClassifyRequest(encoded([image]), "waste")).pieces())
    assert b"".join(pieces) == image
    assert [len(piece) for piece in pieces] == [PIECE_BYTES] * (len(image) // PIECE_BYTES)


def test_several_images_and_an_empty_one_go_in_the_envelope(url: str, fake: Any) -> None:
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        client.send(ClassifyRequest(encoded([b"can", b"jar"]), "waste"))
        client.classify(b"")
        client.classify(b"can")
    assert fake.content_types == [ENVELOPE, ENVELOPE, RAW]


def test_a_server_that_reads_the_envelope_only_refuses_one_raw_image(url: str, fake: Any) -> None:
    fake.reads_raw = False
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        for _ in range(3):
            assert client.classify(b"can", topk=2)[1].label == "can 1"
    assert fake.content_types == [RAW, ENVELOPE, ENVELOPE, ENVELOPE]
    assert len(fake.requests) == 3


def test_an_error_in_the_envelope_settles_the_form_too(url: str, fake: Any) -> None:
    fake.reads_raw = False
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        for _ in range(2):
            with pytest.raises(UndecodableImage):
                client.classify(b"bad")
    assert fake.content_types == [RAW, ENVELOPE, ENVELOPE]


def test_a_service_that_read_a_raw_image_once_is_sent_no_envelope(url: str, fake: Any) -> None:
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        with pytest.raises(UndecodableImage):
            client.classify(b"bad")
        fake.reads_raw = False  # as if a gateway refused this one
        with pytest.raises(BadReply, match="HTTP 400"):
            client.classify(b"can")
    assert fake.content_types == [RAW, RAW]


def test_other_refusals_and_strange_replies_are_no_reason_for_the_envelope(
    url: str, fake: Any
) -> None:
    fake.refusals = [Overloaded("full")]
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        with pytest.raises(BadReply, match="HTTP 200"):
            client.classify(b"garbage")
        with pytest.raises(Overloaded):
            client.classify(b"can")
    assert fake.content_types == [RAW, RAW]


@pytest.mark.parametrize(("wire", "content_type"), [("raw", RAW), ("envelope", ENVELOPE)])
def test_the_caller_may_choose_the_form(url: str, fake: Any, wire: Any, content_type: str) -> None:
    with HttpClient(url, timeout_s=PATIENCE_S, wire=wire) as client:
        assert client.classify(b"can")
        fake.reads_raw = False
        if wire == "raw":
            with pytest.raises(BadReply, match="HTTP 400"):
                client.classify(b"can")
    assert set(fake.content_types) == {content_type}


def test_a_raw_image_is_not_copied_as_a_whole() -> None:
    image = b"can" + bytes(8_000_000)
    tracemalloc.start()
    try:
        body = raw_body(ClassifyRequest(encoded([image], 1), "waste"))
        sent = sum(len(piece) for piece in body.pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == len(body.content) == len(image)
    assert peak < len(image) / 8
