"""What uvicorn writes of a reply, and what goes to the socket."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.web.reply_transport import ReplyTransport

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"{}"


class Recorded(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes | str] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.events.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def end(self) -> None:
        self.events.append("end")


@pytest.fixture
def transport() -> Recorded:
    return Recorded()


async def test_head_and_body_are_one_write(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    for _ in range(2):  # two replies of a connection
        reply.write(HEAD)
        reply.write(BODY)
    assert transport.events == [HEAD + BODY] * 2
    await asyncio.sleep(0)
    assert transport.events == [HEAD + BODY] * 2


async def test_a_head_without_a_body_is_written_soon(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    reply.write(HEAD)
    await asyncio.sleep(0)
    assert transport.events == [HEAD]


async def test_an_interim_reply_does_not_wait(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    reply.write(interim)
    assert transport.events == [interim]
    reply.write(HEAD)
    reply.write(BODY)
    assert transport.events == [interim, HEAD + BODY]


async def test_what_waits_is_written_before_the_end(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    reply.write(HEAD)
    reply.close()
    assert transport.events == [HEAD, "end"]


async def test_nothing_is_written_when_it_is_shut(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    reply.write(HEAD)
    reply.shut()
    reply.write(BODY)
    reply.close()
    assert reply.is_closing()
    assert transport.events == [HEAD]


async def test_nothing_is_written_to_a_connection_that_is_lost(transport: Recorded) -> None:
    reply = ReplyTransport(transport, transport.end)
    reply.write(HEAD)
    transport.closing = True
    reply.shut()
    await asyncio.sleep(0)
    assert transport.events == []
