"""How often the bytes of an image are copied: the table in docs/engine.md, step by step.

A step that copies nothing returns the object that it was given. One that copies once allocates as
much as it returns; a copy more would show in the peak of what is allocated meanwhile.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from pipeline.admission.deadline import Deadline
from pipeline.admission.inflight import Inflight
from pipeline.admission.offload import ParsingQueue
from pipeline.engine.frames import batch_header, pack, read_frame
from pipeline.web.call import HttpCall
from protocol.bodies import RawCodec, UploadCodec
from protocol.codec import Codec, Hints
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.codec import JsonCodec, ProtoCodec
from protocol.request import EncodedImage, encoded

SIZE = 3 * 2**20
IMAGE = bytes(SIZE)
BASE64 = base64.b64encode(IMAGE).decode()


def copies(step: Callable[[], object]) -> float:
    """Return the most that `step` had allocated at once, in images."""
    tracemalloc.start()
    try:
        kept = step()
        assert kept is not None
        return tracemalloc.get_traced_memory()[1] / SIZE
    finally:
        tracemalloc.stop()


def http_call(*pieces: bytes) -> HttpCall:
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    scope = {"type": "http", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)}
    return HttpCall(Request(scope, receive), "waste", 2 * SIZE)


async def received(*pieces: bytes) -> bytes:
    with Inflight(2 * SIZE).reservation() as reservation:
        lane = ParsingQueue(SIZE).lane("a", "waste", reservation)
        return await http_call(*pieces).receive(Deadline(), lane)


async def test_a_body_in_one_piece_is_not_copied() -> None:
    assert await received(IMAGE) is IMAGE


async def test_a_body_in_pieces_is_copied_once() -> None:
    pieces = [bytes(SIZE // 16)] * 16
    tracemalloc.start()
    body = await received(*pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body == IMAGE
    assert peak < 1.5 * SIZE  # what BytesIO allocates ahead is included


def test_a_raw_image_is_not_copied() -> None:
    (image,) = RawCodec().read(IMAGE, Hints("waste", "image/png")).images
    assert image.data is IMAGE


def upload() -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    return head + IMAGE + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (UploadCodec(), upload()),
        (JsonCodec(), json.dumps({"key": ["image"], "value": [BASE64]}).encode()),
        (ProtoCodec(), pb.Request(key=["image"], value=[BASE64]).SerializeToString()),
    ],
    ids=["upload", "json", "rpc"],
)
def test_a_codec_copies_an_image_once(codec: Codec, body: bytes) -> None:
    hints = Hints("waste", "multipart/form-data; boundary=b")

    def read() -> object:
        codec.service_in(body, hints)
        (image,) = codec.read(body, hints).images
        assert len(image.data) == SIZE
        return image

    assert copies(read) < 1.2


def test_the_worker_receives_each_image_as_one_object() -> None:
    ours, theirs = socket.socketpair()
    images = encoded([IMAGE, b"small"])
    frame = pack(batch_header(1, images, [0, 0]), SIZE + 5) + IMAGE + b"small"
    found: list[EncodedImage] = []

    def receive() -> object:
        read = read_frame(theirs)
        assert read is not None
        found.extend(read.images)
        return found

    with ours, theirs:
        sender = threading.Thread(target=ours.sendall, args=(frame,))
        sender.start()
        peak = copies(receive)
        sender.join()
    assert tuple(found) == images
    assert peak < 1.2
