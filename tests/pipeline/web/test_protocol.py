"""Connections on real sockets: too many, too slow, too large, and those that never read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.web import body_wait
from pipeline.web import protocol as http_protocol
from pipeline.web.app import build_http_app
from pipeline.web.body_count import FREE_CHUNKS
from pipeline.web.reads import PIECE_BYTES
from pipeline.web.server import serve_app
from protocol.key_value.reply import error_to_json
from tests.patience import PATIENCE_S
from tests.pipeline.web.raw_http import GET, closed, read_reply, request


async def test_the_connection_idle_longest_is_closed_for_a_new_one(serve: Any) -> None:
    server = await serve(max_connections=3)
    connections = [await server.open() for _ in range(3)]
    for connection in connections:
        await request(*connection, close=False)
    await request(*connections[0], close=False)  # so that the second is the longest idle
    newcomer = await server.open()
    assert b"200 OK" in await request(*newcomer, close=False)
    assert await closed(connections[1][0])
    for connection in (connections[0], connections[2]):
        assert b"200 OK" in await request(*connection)
    newcomer[1].close()
    connections[1][1].close()


async def test_silent_connections_make_room_before_those_that_had_a_reply(serve: Any) -> None:
    server = await serve(max_connections=3)
    caller = await server.open()
    await request(*caller, close=False)
    silent = [await server.open() for _ in range(2)]
    # More of them displace each other, and not the caller who is idle longer.
    more = [await server.open() for _ in range(3)]
    for reader, _ in (*silent, more[0]):
        assert await closed(reader)
    assert b"200 OK" in await request(*caller)
    for _, writer in (*silent, *more):
        writer.close()


async def test_a_connection_too_many_is_refused_while_all_are_at_work(serve: Any) -> None:
    server = await serve(max_connections=2)
    server.release.clear()
    working = [await server.open() for _ in range(2)]
    for _, writer in working:
        writer.write(GET)
    while server.requests < 3:
        await asyncio.sleep(0.01)
    reader, writer = await server.open()
    reply = await read_reply(reader)
    assert b"429 Too Many Requests" in reply
    assert b"Retry-After: 1" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["err_no"] == 3004
    assert await closed(reader)
    writer.close()
    server.release.set()
    for reader, writer in working:
        assert b"200 OK" in await read_reply(reader)
        writer.close()
    assert b"200 OK" in await request(*await server.open())


@pytest.mark.parametrize("sent", [b"", b"G", GET[:-1], b"GET / HTTP/1.1\r\nX: "])
async def test_slowloris_a_head_that_does_not_come_ends_the_connection(
    serve: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
    server = await serve()
    reader, writer = await server.open()
    writer.write(sent)
    assert await closed(reader)
    writer.close()
    # The second request of a connection too.
    reader, writer = await server.open()
    await request(reader, writer, close=False)
    writer.write(sent or b"G")
    assert await closed(reader)
    writer.close()


async def test_slowloris_a_body_that_trickles_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.3)
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
    reply = await read_reply(reader)
    assert b"504 Gateway Timeout" in reply
    assert "too slow" in json.loads(reply.partition(b"\r\n\r\n")[2])["err_msg"]
    assert await closed(reader)
    writer.close()


async def test_a_body_is_not_waited_for_longer_for_its_first_byte(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look is enough: a second one would be an hour away."""
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.3)
    monkeypatch.setattr(body_wait, "LOOK_EVERY_S", 3600.0)
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100)
    assert b"504 Gateway Timeout" in await read_reply(reader)
    assert await closed(reader)
    writer.close()


async def test_a_reply_before_the_body_is_the_only_one(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.3)
    # It is not the end of an idle connection that closes.
    server = await serve(keep_alive_s=int(4 * PATIENCE_S))
    reader, writer = await server.open()
    writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
    assert b"404" in (await read_reply(reader)).partition(b"\r\n")[0]
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()


async def test_a_slow_body_at_an_honest_rate_is_read(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.3)
    monkeypatch.setattr(body_wait, "SLOWEST_BYTES_A_SECOND", 1)
    monkeypatch.setattr(body_wait, "LOOK_EVERY_S", 30.0)
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        writer.write(b"0123456789")
        await asyncio.sleep(0.05)
    assert b"200 OK" in await read_reply(reader)
    writer.close()


async def test_a_body_that_stops_after_much_of_it_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.2)
    monkeypatch.setattr(body_wait, "LOOK_EVERY_S", 0.2)
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 800_000)
    reply = await read_reply(reader)
    assert b"504 Gateway Timeout" in reply
    assert await closed(reader)
    writer.close()


async def test_a_body_has_a_limit_also_at_an_honest_rate(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BODY_PATIENCE_S", 0.1), ("LOOK_EVERY_S", 0.1), ("BODY_LIMIT_S", 0.5)):
        monkeypatch.setattr(body_wait, name, value)
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    reply = asyncio.create_task(read_reply(reader))
    while not reply.done():
        writer.write(b"x" * 10_000)
        await asyncio.sleep(0.05)
    assert b"504 Gateway Timeout" in await reply
    writer.close()


async def test_empty_lines_keep_no_connection(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.3)
    server = await serve()
    reader, writer = await server.open()
    await request(reader, writer, close=False)
    writer.write(b"\r\n")
    assert await closed(reader)
    writer.close()


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"


async def test_trailers_are_no_headers(serve: Any) -> None:
    server = await serve()
    reader, writer = await server.open()
    writer.write(CHUNKED + b"\r\n1\r\nx\r\n")
    await asyncio.sleep(0.05)
    writer.write(b"0\r\nX-API-Key: k\r\nContent-Type: image/png\r\n\r\n" + GET)
    for _ in range(2):
        assert b"200 OK" in await read_reply(reader)
    assert server.bodies[-2:] == [b"x", b""]
    assert not {"x-api-key", "content-type"} & set(server.headers)
    # In one piece too.
    writer.write(CHUNKED + b"\r\n1\r\nx\r\n0\r\nX-API-Key: k\r\n\r\n")
    assert b"200 OK" in await read_reply(reader)
    assert server.bodies[-1] == b"x"
    assert "x-api-key" not in server.headers
    writer.close()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
        (b"1\r\nx\r\n0\r\na: ", b"b"),
        (b"1\r\nx\r\n1;", b"a"),
    ],
    ids=["trailers", "one trailer", "extension"],
)
async def test_what_is_no_body_has_a_limit(serve: Any, begin: bytes, more: bytes) -> None:
    server = await serve()
    reader, writer = await server.open()
    writer.write(CHUNKED + b"\r\n" + begin)
    ended = asyncio.create_task(closed(reader))
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(more * 2000)
            await writer.drain()
            if ended.done():
                break
            await asyncio.sleep(0)
    assert await ended
    assert server.requests <= 2
    writer.close()
    assert b"200 OK" in await request(*await server.open())


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upgrade_is_ignored_and_its_body_is_no_request(
    serve: Any, apart: bool, chunked: bool
) -> None:
    """curl --http2 and Java's client ask for h2c at every request, and go on in HTTP/1.1."""
    server = await serve()
    body = b"DELETE /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    if chunked:
        head = CHUNKED + UPGRADE + b"\r\n"
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body) + UPGRADE + b"\r\n"
        )
        sent = body
    reader, writer = await server.open()
    writer.write(head)
    if apart:
        await asyncio.sleep(0.1)
    writer.write(sent + GET + b"GET / HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n" + GET)
    for _ in range(4):
        assert b"200 OK" in await read_reply(reader)
    assert server.bodies[-4:] == [body, b"", b"", b""]
    writer.close()


@pytest.mark.parametrize(
    ("sent", "status", "err_no"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", 5000),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400", 5000),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400", 5000),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n" + GET, b"405", 3000),
    ],
)
async def test_what_is_no_request_gets_an_error_as_json(
    serve: Any, sent: bytes, status: bytes, err_no: int
) -> None:
    server = await serve()
    requests = server.requests
    reader, writer = await server.open()
    writer.write(sent)
    reply = await read_reply(reader)
    assert reply.split()[1] == status
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["err_no"] == err_no
    assert await closed(reader)
    assert server.requests == requests
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000_000,  # and never ends
    ],
    ids=["many", "long", "address", "endless"],
)
async def test_a_head_over_the_limit(serve: Any, head: bytes) -> None:
    server = await serve()
    requests = server.requests
    reader, writer = await server.open()
    writer.write(head)
    with contextlib.suppress(ConnectionError):  # it may be reset while the rest is still sent
        reply = await read_reply(reader)
        assert b"413" in reply.partition(b"\r\n")[0]
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["err_no"] == 5002
        assert await closed(reader)
    writer.close()
    assert server.requests == requests
    assert b"200 OK" in await request(*await server.open())


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def test_bodies_count_nothing_of_the_head_behind_them(serve: Any) -> None:
    server = await serve()
    server.bodies.clear()
    bodies = [b"%d" % number * 30_000 for number in range(5)]
    sent = b"".join(map(post, bodies))
    reader, writer = await server.open()
    cut = len(sent) - len(post(bodies[-1])) + 20  # within the last head
    writer.write(sent[:cut])
    await asyncio.sleep(0.2)
    writer.write(sent[cut:])
    for _ in bodies:
        assert b"200 OK" in await read_reply(reader)
    assert server.bodies == bodies
    writer.close()


REFUSED = [
    (b"\x00\x00garbage\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", b"413"),
    (post(b"z" * 40_000).replace(b"Host: x", b"X: y\r\n" * 200 + b"Host: x"), b"413"),
    (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n" + GET, b"405"),
    (CHUNKED + b"\r\nno length\r\n", b"400"),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_refusal_comes_behind_the_replies_to_earlier_requests(
    serve: Any, sent: bytes, status: bytes, apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    requests = server.requests
    server.release.clear()
    reader, writer = await server.open()
    writer.write(post(b"first") + post(b"second"))
    while apart and server.requests == requests:
        await asyncio.sleep(0.01)
    writer.write(sent)
    await asyncio.sleep(0.2)
    server.release.set()
    for _ in range(2):
        assert b"200 OK" in await read_reply(reader)
    assert (await read_reply(reader)).split()[1] == status
    assert await closed(reader)
    writer.close()
    assert server.bodies[-2:] == [b"first", b"second"]
    assert server.requests == requests + 2
    assert not caplog.records


async def test_what_comes_behind_a_refusal_is_discarded(serve: Any) -> None:
    server = await serve()
    requests = server.requests
    server.release.clear()
    reader, writer = await server.open()
    writer.write(GET + b"\x00garbage")
    await asyncio.sleep(0.1)
    for _ in range(20):
        writer.write(GET * 1000)
        await asyncio.sleep(0.01)
    server.release.set()
    assert b"200 OK" in await read_reply(reader)
    assert b"400" in (await read_reply(reader)).partition(b"\r\n")[0]
    assert await closed(reader)
    writer.close()
    assert server.requests == requests + 1


async def test_a_slow_reader_is_disconnected(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_TIMEOUT_S", 0.3)
    lost: list[object] = []
    connection_lost = http_protocol._BoundedProtocol.connection_lost

    def note(protocol: Any, error: Exception | None) -> None:
        connection_lost(protocol, error)
        lost.append(protocol)

    monkeypatch.setattr(http_protocol._BoundedProtocol, "connection_lost", note)
    server = await serve()
    server.size = 64 * 2**20  # more than all buffers on the way
    reader, writer = await server.open()
    writer.transport.pause_reading()
    writer.write(GET)
    while len(lost) < 2:  # the first is that of `serve`
        await asyncio.sleep(0.01)
    writer.transport.resume_reading()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await read_reply(reader)
    writer.close()


async def test_two_requests_in_one_piece_are_both_answered(serve: Any) -> None:
    server = await serve()
    reader, writer = await server.open()
    writer.write(GET + GET + GET[:10])
    for _ in range(2):
        assert b"200 OK" in await read_reply(reader)
    writer.write(GET[10:])
    assert b"200 OK" in await read_reply(reader)
    writer.close()


async def test_pipelined_requests_are_parsed_one_at_a_time(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn alone keeps each request that it finds in what it has received."""
    server = await serve()
    parsed: list[Any] = []
    most: list[int] = []

    class Counted(httptools_impl.RequestResponseCycle):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            parsed.append(self)
            most.append(sum(not each.response_complete for each in parsed[-100:]))

    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", Counted)
    reader, writer = await server.open()
    number = 3000
    server.release.clear()
    requests = server.requests
    writer.write(GET)
    while server.requests == requests:
        await asyncio.sleep(0.01)
    writer.write(GET * (number - 1))
    await asyncio.sleep(0)
    server.release.set()
    for _ in range(number):
        assert b"200 OK" in await read_reply(reader)
    assert len(parsed) == number
    assert max(most) == 1
    writer.close()


async def test_a_body_in_tiny_chunks_leaves_the_loop_to_others(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()
    loop = asyncio.get_running_loop()
    turn, parsed = 0, Counter[int]()

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn)

    def counting(self: Any, piece: bytes) -> None:
        parsed[turn] += 1
        parse(self, piece)

    next_turn()
    parse = httptools_impl.HttpToolsProtocol.data_received
    monkeypatch.setattr(httptools_impl.HttpToolsProtocol, "data_received", counting)
    reader, writer = await server.open()
    writer.write(CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n" + GET)
    for _ in range(2):
        assert b"200 OK" in await read_reply(reader)
    assert server.bodies[-2:] == [b"x" * 5000, b""]
    assert max(parsed.values()) <= 2 * http_protocol._PIECES_A_TURN
    # A chunk is a piece, whatever is in it.
    parsed.clear()
    writer.write(CHUNKED + b"\r\n186a0;a=b\r\n" + b"\n" * 100_000 + b"\r\n0\r\n\r\n" + GET)
    for _ in range(2):
        assert b"200 OK" in await read_reply(reader)
    assert server.bodies[-2:] == [b"\n" * 100_000, b""]
    assert sum(parsed.values()) < 50
    writer.close()


@pytest.mark.parametrize("extension", [b"", b";a=" + b"b" * 10_000], ids=["tiny", "extended"])
async def test_a_body_in_too_many_tiny_chunks_is_refused(
    serve: Any, monkeypatch: pytest.MonkeyPatch, extension: bytes
) -> None:
    """The bound is on what is parsed, so that the rest of the body costs nothing."""
    server = await serve()
    parsed = 0
    parse = httptools_impl.HttpToolsProtocol.data_received

    def counting(self: Any, piece: bytes) -> None:
        nonlocal parsed
        parsed += 1
        parse(self, piece)

    monkeypatch.setattr(httptools_impl.HttpToolsProtocol, "data_received", counting)
    requests = server.requests
    reader, writer = await server.open()
    writer.write(
        CHUNKED + b"\r\n" + (b"1" + extension + b"\r\nx\r\n") * (300 if extension else 30_000)
    )
    reply = await read_reply(reader)
    assert reply.split()[1] == b"400"
    assert "larger chunks" in json.loads(reply.partition(b"\r\n\r\n")[2])["err_msg"]
    assert await closed(reader)
    assert parsed <= 3.1 * FREE_CHUNKS
    assert server.requests == requests
    assert server.disconnected == 1
    writer.close()


async def test_too_many_headers_are_refused_before_the_rest_of_them_is_parsed(serve: Any) -> None:
    server = await serve()
    reader, writer = await server.open()
    # Not complete: nothing behind the limit is waited for.
    writer.write(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * (http_protocol.MAX_HEADERS + 2))
    assert b"413" in (await read_reply(reader)).partition(b"\r\n")[0]
    writer.close()


async def test_no_more_than_a_piece_is_read_behind_a_request(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of connections could each keep what the loop reads at once, 256 KB."""
    server = await serve()
    received: list[int] = []
    receive = http_protocol._BoundedProtocol.data_received

    def counting(self: Any, data: bytes) -> None:
        received.append(len(data))
        receive(self, data)

    monkeypatch.setattr(http_protocol._BoundedProtocol, "data_received", counting)
    for head in (b"", CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n", post(b"x" * 100_000)):
        server.release.clear()
        received.clear()
        requests = server.requests
        reader, writer = await server.open()
        writer.write(head + GET * 100_000)
        while server.requests == requests:
            await asyncio.sleep(0.01)
        for _ in range(100):  # turns of the loop, in which it would read what is there
            await asyncio.sleep(0)
        assert sum(received) <= len(head) + 2 * PIECE_BYTES
        server.release.set()
        assert b"200 OK" in await read_reply(reader)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_chunked_body_may_be_cut_anywhere(serve: Any) -> None:
    server = await serve()
    sent = (
        CHUNKED + b"\r\n3;a=b\r\na\nb\r\n0012\r\n0\r\n\r\nGET / HTTP/1.\r\n0\r\nX: y\r\n\r\n" + GET
    )
    for cut in range(1, len(sent), 3):
        reader, writer = await server.open()
        writer.write(sent[:cut])
        await writer.drain()
        await asyncio.sleep(0.001)
        writer.write(sent[cut:])
        for _ in range(2):
            assert b"200 OK" in await read_reply(reader)
        assert server.bodies[-2:] == [b"a\nb0\r\n\r\nGET / HTTP/1.", b""]
        writer.close()


async def test_the_socket_is_not_read_behind_a_pipelined_request(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()
    received: list[int] = []
    receive = http_protocol._BoundedProtocol.data_received

    def counting(self: Any, data: bytes) -> None:
        received.append(len(data))
        receive(self, data)

    monkeypatch.setattr(http_protocol._BoundedProtocol, "data_received", counting)
    server.release.clear()
    requests = server.requests
    reader, writer = await server.open()
    number = 1000
    writer.write(GET + GET)
    while server.requests == requests:
        await asyncio.sleep(0.01)
    writer.write(GET * number)
    for _ in range(100):  # turns of the loop, in which it would read what is there
        await asyncio.sleep(0)
    assert received == [2 * len(GET)]
    server.release.set()
    for _ in range(number + 2):
        assert b"200 OK" in await read_reply(reader)
    writer.close()


async def test_what_no_application_sees_is_reported(serve: Any) -> None:
    reported: list[str] = []
    server = await serve(
        max_connections=1,
        on_refused=lambda error: reported.append(type(error).__name__),
    )
    server.release.clear()
    requests = server.requests
    reader, writer = await server.open()
    writer.write(GET)
    while server.requests == requests:
        await asyncio.sleep(0.01)
    refused = await server.open()
    assert b"429" in await read_reply(refused[0])
    refused[1].close()
    writer.write(b"\x00garbage")
    server.release.set()
    assert await closed(reader)
    writer.close()
    for sent in (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000, b"CONNECT x:1 HTTP/1.1\r\n\r\n"):
        reader, writer = await server.open()
        writer.write(sent)
        assert await closed(reader)
        writer.close()
    assert reported == ["Overloaded", "InvalidRequest", "TooLarge", "MethodNotAllowed"]


async def test_a_slow_body_is_counted_under_the_error_that_was_sent(
    services: Services, observer: Observer, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_wait, "BODY_PATIENCE_S", 0.3)
    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    listening = socket.create_server(("127.0.0.1", 0))
    async with contextlib.AsyncExitStack() as stack:
        await serve_app(
            stack, app, [listening], error_body=error_to_json, on_refused=observer.no_request
        )
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"POST /waste/prediction HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
        assert b"504" in (await read_reply(reader)).partition(b"\r\n")[0]
        assert await closed(reader)
        writer.close()
        while not (counted := _outcomes(metrics)):
            await asyncio.sleep(0.01)
    assert counted == {("waste", "deadline_exceeded"): 1}


def _outcomes(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["service"], sample.labels["outcome"]): sample.value
        for family in metrics.registry.collect()
        if family.name == "serving_requests"
        for sample in family.samples
    }
