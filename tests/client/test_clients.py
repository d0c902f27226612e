from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.errors import BadReply, ConnectionLost, TimedOut, Unreachable, UnreadableImage
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from protocol.errors import NotReady, Overloaded, ServiceNotFound, ServingError, UndecodableImage
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S


def test_bytes_and_files_are_classified(client: Any, tmp_path: Path) -> None:
    assert client.classify(b"can")[0].label == "can 0"
    path = tmp_path / "瓶.jpg"
    path.write_bytes(b"bottle")
    assert [c.class_id for c in client.classify(path, topk=3)] == [0, 1, 2]
    assert client.classify(str(path))[0].label == "bottle 0"


def test_options_reach_the_service(client: Any, fake: Any) -> None:
    client.classify(b"can", topk=2, threshold=0.25, log_id=77)
    (request,) = fake.requests
    assert (request.images[0][1:], request.log_id) == ((2, 0.25), 77)


def test_errors_are_typed(client: Any) -> None:
    with pytest.raises(UndecodableImage, match="looks like text"):
        client.classify(b"bad")
    with pytest.raises(UnreadableImage, match="cannot read /nowhere"):
        client.classify(Path("/nowhere"))
    with pytest.raises(BadReply):
        client.classify(b"garbage")
    assert client.classify(b"can")


def test_many_come_in_order_and_failures_stand_in_their_place(client: Any) -> None:
    images = [b"one", b"bad", b"three", *(f"{i}".encode() for i in range(40))]
    answers = list(client.classify_many(images, jobs=4))
    assert [answer.image for answer in answers] == images
    assert isinstance(answers[1].error, UndecodableImage)
    assert answers[2].categories[0].label == "three 0"
    assert all(answer.error is None for answer in answers[2:])


def test_several_images_in_one_request(client: Any) -> None:
    reply = client.send(ClassifyRequest(encoded([b"one", b"bad", b"two"]), "waste"))
    assert reply.results[0][0].label == "one 0"
    assert isinstance(reply.results[1], UndecodableImage)


def test_a_busy_service_gets_the_request_again(client: Any, fake: Any) -> None:
    fake.refusals = [Overloaded("full"), NotReady("starting")]
    assert client.classify(b"can")
    assert len(fake.requests) == 3
    fake.refusals = [Overloaded("full")] * 9
    with pytest.raises(Overloaded):
        client.classify(b"can")


def test_an_unknown_service(url: str, endpoint: str) -> None:
    for client in (HttpClient(url, service="peach"), RpcClient(endpoint, service="peach")):
        with client, pytest.raises(ServiceNotFound, match="services: waste"):
            client.classify(b"can")


def test_a_timeout_is_kept(url: str, endpoint: str) -> None:
    for client in (HttpClient(url, timeout_s=0.3), RpcClient(endpoint, timeout_s=0.3)):
        with client, pytest.raises(TimedOut, match=r"0\.3 s"):
            client.classify(b"slow")


def test_the_timeout_of_the_caller_is_sent_as_the_deadline(client: Any, fake: Any) -> None:
    client.classify(b"cat")
    (deadline_s,) = fake.deadlines_s
    # gRPC sends a deadline with few digits and rounds it up: 20.001 s travels as 20.1 s.
    assert 0 < deadline_s < 1.05 * PATIENCE_S


def test_an_unreachable_server(free_port: int) -> None:
    clients = [HttpClient(f"http://127.0.0.1:{free_port}"), RpcClient(f"127.0.0.1:{free_port}")]
    for client in clients:
        with client, pytest.raises(Unreachable, match="cannot reach"):
            client.classify(b"can")


def test_a_broken_connection_and_a_stock_0_9_answer(url: str) -> None:
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        with pytest.raises(ConnectionLost):
            client.classify(b"reset")
        (category,) = client.classify(b"stock")
        assert (category.class_id, category.label, category.score) == (-1, "daisy", 0.9)


@pytest.mark.parametrize("address", ["", "ftp://x", "http://", "localhost"])
def test_an_address_that_is_none(address: str) -> None:
    if "://" in address or not address:
        with pytest.raises(ValueError, match=r".+"):
            HttpClient(address)
    if ":" not in address.removeprefix("http://"):
        with pytest.raises(ValueError, match=r".+"):
            RpcClient(address)


def test_everything_is_a_serving_error() -> None:
    kinds = (BadReply, ConnectionLost, TimedOut, UnreadableImage, Unreachable)
    assert all(issubclass(kind, ServingError) for kind in kinds)
