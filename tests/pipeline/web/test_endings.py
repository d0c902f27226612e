"""The end of connections: refusals before the body came, clients that send on or have left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.key_ring import KeyRing
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.settings.api_keys import parse_api_keys
from pipeline.web import lingering, reads
from pipeline.web.app import build_http_app
from pipeline.web.server import serve_app
from protocol.key_value.reply import error_to_json
from tests.patience import PATIENCE_S
from tests.pipeline.web.raw_http import GET, closed, read_reply, request

KEY = "k0123456789abcdef"
BODY_LIMIT = 1_000_000
TINY_CHUNKS = b"1\r\nx\r\n" * 50_000


@pytest.fixture
async def port(services: Services, observer: Observer) -> AsyncIterator[int]:
    """The port of the real application, which requires a key."""
    keys = KeyRing(parse_api_keys(f"caller: {KEY}", "keys.yml"))
    desk = Desk(services, observer, Inflight(4 * BODY_LIMIT), keys=keys)
    listening = socket.create_server(("127.0.0.1", 0))
    async with contextlib.AsyncExitStack() as stack:
        app = build_http_app(desk, max_body_bytes=BODY_LIMIT)
        await serve_app(
            stack, app, [listening], error_body=error_to_json, on_refused=observer.no_request
        )
        yield listening.getsockname()[1]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each piece that a parser has got."""
    sizes: list[int] = []
    parse = httptools_impl.HttpToolsProtocol.data_received

    def counting(self: Any, piece: bytes) -> None:
        sizes.append(len(piece))
        parse(self, piece)

    monkeypatch.setattr(httptools_impl.HttpToolsProtocol, "data_received", counting)
    return sizes


HERE = "POST /waste/prediction"
REFUSALS = [
    ("401", HERE, ""),
    ("403", HERE, "Origin: https://evil.example\r\n"),
    ("404", "POST /nowhere/prediction", f"X-API-Key: {KEY}\r\n"),
    ("404", "POST /nowhere", ""),
    ("405", "PUT /waste/prediction", ""),
    ("405", "POST /health/live", ""),
    ("400", HERE, f"X-API-Key: {KEY}\r\nX-Request-Timeout: soon\r\n"),
    ("415", HERE, f"X-API-Key: {KEY}\r\nContent-Encoding: br\r\n"),
    ("200", "GET /health/live", ""),
]


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 900000"])
@pytest.mark.parametrize(("status", "line", "headers"), REFUSALS)
async def test_behind_a_refusal_nothing_of_the_body_is_parsed(
    port: int, parsed: list[int], status: str, line: str, headers: str, framing: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n{headers}{framing}\r\n\r\n".encode())
    reply = await read_reply(reader)
    assert reply.split()[1].decode() == status
    assert b"\r\nconnection: close\r\n" in reply
    parsed.clear()
    writer.write(TINY_CHUNKS)
    await writer.drain()
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    assert not parsed
    writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"{HERE} HTTP/1.1\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
        (f"{HERE} HTTP/1.1\r\nX-API-Key: {KEY}\r\nContent-Length: 8000000\r\n\r\n", "413"),
        (f"{HERE} HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n", "401"),
        ("no HTTP\r\n\r\n", "400"),
    ],
)
async def test_a_client_that_sends_all_before_it_reads_gets_its_reply(
    port: int, head: str, status: str
) -> None:
    body = b"x" * 8_000_000
    if "chunked" in head:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(head.encode() + body)
            received = b""
            while more := connection.recv(65536):
                received += more
            return received

    reply = await asyncio.to_thread(send)
    assert reply.count(b"HTTP/1.1 ") == 1
    assert reply.split()[1].decode() == status


async def test_a_body_of_the_limit_is_read_and_one_above_is_not(
    port: int,
) -> None:
    for size, status in ((BODY_LIMIT, b"200"), (BODY_LIMIT + 1, b"413")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"{HERE} HTTP/1.1\r\nX-API-Key: {KEY}\r\nContent-Type: image/jpeg\r\n"
        writer.write(f"{head}Content-Length: {size}\r\n\r\n".encode())
        if status == b"200":
            writer.write(b"x" * size)
        assert (await read_reply(reader)).split()[1] == status
        writer.close()


async def test_a_client_that_sends_on_for_ever_is_disconnected(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_BYTES", 2_000_000)
    with pytest.raises(ConnectionError):
        await _send_on(port)
    monkeypatch.setattr(lingering, "LINGER_BYTES", 2**60)
    monkeypatch.setattr(lingering, "LINGER_LIMIT_S", 0.1)
    with pytest.raises(ConnectionError):
        await _send_on(port)


async def _send_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{HERE} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    assert b"401" in await read_reply(reader)

    async def send() -> None:
        while True:
            writer.write(TINY_CHUNKS)
            await writer.drain()

    try:
        await asyncio.wait_for(send(), PATIENCE_S)
    finally:
        writer.close()


def test_connections_that_discard_wait_for_each_other() -> None:
    pace = lingering.Pace()
    assert [pace.wait_s(10.0, 0.5) for _ in range(3)] == [0.5, 1.0, 1.5]
    # What was not used is not saved up.
    assert pace.wait_s(20.0, 0.5) == 0.5


@pytest.mark.parametrize("rate", ["BYTES_A_SECOND", "ALL_BYTES_A_SECOND"])
async def test_what_is_discarded_is_read_no_faster_than_a_rate(
    port: int, monkeypatch: pytest.MonkeyPatch, rate: str
) -> None:
    monkeypatch.setattr(lingering, rate, 1)
    received: list[int] = []
    note = lingering.Lingering.received

    def counting(self: Any, size: int) -> None:
        received.append(size)
        note(self, size)

    monkeypatch.setattr(lingering.Lingering, "received", counting)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{HERE} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    assert b"401" in await read_reply(reader)
    writer.write(TINY_CHUNKS * 10)
    assert await closed(reader)
    writer.close()
    # The second would come after hours; on a slow machine the first comes too late.
    assert len(received) <= 1
    assert sum(received) <= reads.MOST_BYTES


async def test_a_refused_client_that_stays_is_disconnected(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.2)
    lost = asyncio.Event()
    end = lingering.Lingering.end
    monkeypatch.setattr(lingering.Lingering, "end", lambda self: (end(self), lost.set()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{HERE} HTTP/1.1\r\nContent-Length: 10\r\n\r\n".encode())
    assert b"401" in await read_reply(reader)
    await asyncio.wait_for(lost.wait(), PATIENCE_S)
    writer.close()


async def test_a_client_that_sends_on_does_not_keep_a_service_from_its_end(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is closed by the fixture; uvicorn logs an error if it has to give up."""
    server = await serve()
    reader, writer = await server.open()
    writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"404" in (await read_reply(reader)).partition(b"\r\n")[0]

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(TINY_CHUNKS)
                await writer.drain()
        writer.close()

    sending = asyncio.create_task(send())
    await server.close()
    await asyncio.wait_for(sending, PATIENCE_S)
    assert not caplog.records


async def test_a_connection_that_lingers_makes_room_for_another(serve: Any) -> None:
    server = await serve(max_connections=1)
    reader, writer = await server.open()
    writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
    assert b"404" in (await read_reply(reader)).partition(b"\r\n")[0]
    assert b"200 OK" in await request(*await server.open())
    writer.close()


async def test_pipelined_requests_behind_the_last_do_not_take_its_reply_away(serve: Any) -> None:
    server = await serve()
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(last + GET * 20_000)
            received = b""
            while more := connection.recv(65536):
                received += more
            return received

    assert (await asyncio.to_thread(send)).count(b"200 OK") == 1


# --- half-closed --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_half_closed_connection_gets_its_replies(serve: Any, version: bytes) -> None:
    server = await serve()
    server.release.clear()
    requests = server.requests
    reader, writer = await server.open()
    writer.write(GET.replace(b"1.1", version))
    while server.requests == requests:
        await asyncio.sleep(0.01)
    writer.write_eof()
    if version == b"1.1":
        interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    server.release.set()
    reply = await read_reply(reader)
    assert b"200 OK" in reply
    assert b"connection: close" in reply
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()
    assert not server.left.is_set()


async def test_pipelined_requests_of_a_half_closed_connection_are_all_answered(serve: Any) -> None:
    server = await serve()
    reader, writer = await server.open()
    writer.write(GET * 5)
    writer.write_eof()
    received = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert received.count(b"200 OK") == 5
    writer.close()


async def test_a_client_that_has_left_is_told_from_a_half_closed_one(serve: Any) -> None:
    server = await serve()
    server.release.clear()
    requests = server.requests
    _, writer = await server.open()
    writer.write(GET)
    while server.requests == requests:
        await asyncio.sleep(0.01)
    writer.close()
    await asyncio.wait_for(server.left.wait(), PATIENCE_S)


@pytest.mark.parametrize("sent", [GET[:-9], b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"])
async def test_a_request_that_ends_too_early_gets_an_error(serve: Any, sent: bytes) -> None:
    server = await serve()
    reader, writer = await server.open()
    writer.write(sent)
    writer.write_eof()
    reply = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["err_no"] == 5000
    writer.close()


# --- no head leads to a traceback -----------------------------------------------------------------

UPGRADES = ("", "Upgrade: h2c\r\n", "Upgrade: websocket\r\nUpgrade: TLS/1.0\r\n", "Upgrade:\r\n")
CONNECTIONS = ("", "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n")
CODINGS = ("", "gzip", "chunked", "gzip, chunked", "chunked, gzip", "identity", " ")
LENGTHS = ("", "Content-Length: 5\r\n", "Content-Length: 18446744073709551615\r\n")
EXPECTED = ("", "Expect: 100-continue\r\n")
LINES = ("POST / HTTP/1.1", "GET / HTTP/1.0", "CONNECT x:1 HTTP/1.1", "GET http://a:b/ HTTP/1.1")


async def test_no_combination_of_headers_leads_to_a_traceback(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def send(line: str, *headers: str) -> None:
        coding = f"Transfer-Encoding: {headers[2]}\r\n" if headers[2] else ""
        head = f"{line}\r\nHost: x\r\n{headers[0]}{headers[1]}{coding}{headers[3]}{headers[4]}\r\n"
        reader, writer = await server.open()
        writer.write(head.encode() + b"5\r\nhello\r\n0\r\n\r\n")
        writer.write_eof()
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await asyncio.wait_for(reader.read(), PATIENCE_S)
            assert received.startswith(b"HTTP/1.1 "), head
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    heads = list(itertools.product(LINES, UPGRADES, CONNECTIONS, CODINGS, LENGTHS, EXPECTED))
    for at in range(0, len(heads), 16):
        await asyncio.gather(*(send(*head) for head in heads[at : at + 16]))
    assert not reported
    assert not caplog.records
