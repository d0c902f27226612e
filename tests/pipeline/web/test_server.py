"""TLS on real sockets, on both event loops: renewal, silence, garbage, the end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.admission.tls import Tls
from pipeline.settings.access import TlsSettings
from pipeline.web import reads
from pipeline.web import server as http_server
from pipeline.web.server import affordable_connections, serve_app
from protocol.key_value.reply import error_to_json
from tests.patience import PATIENCE_S

trustme = pytest.importorskip("trustme")
uvloop = pytest.importorskip("uvloop")

# Descriptors that threads of other tests may hold for a while: gRPC's, which tries to reconnect.
OTHERS = 8
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = (ssl.SSLError, ConnectionError)
RSA_ONLY = "ECDHE-RSA-AES128-GCM-SHA256"
Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """A function that runs a coroutine function to its end on one of the loops."""

    def run(main: Callable[[], Awaitable[None]]) -> None:
        loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
        try:
            loop.run_until_complete(asyncio.wait_for(main(), PATIENCE_S))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    return run


class Files:
    """The files of one service, and what its clients need."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.settings = TlsSettings(
            certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"), client_ca=None
        )
        self.client_ca = folder / "client-ca.pem"
        self.issue()

    def issue(self, key_type: Any = trustme.KeyType.ECDSA) -> None:
        """Write a new certificate and key of the service."""
        issued = self.authority.issue_cert("127.0.0.1", key_type=key_type)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        Path(self.settings.certificate).write_bytes(chain)
        Path(self.settings.key).write_bytes(issued.private_key_pem.bytes())

    def mutual(self, authority: Any) -> TlsSettings:
        """Write the authority that clients must be of; return settings that require them."""
        authority.cert_pem.write_to_path(self.client_ca)
        return TlsSettings(
            certificate=self.settings.certificate,
            key=self.settings.key,
            client_ca=str(self.client_ca),
        )

    def client(self, of: Any = None) -> ssl.SSLContext:
        """Return a client's context, with a certificate of its own from `of`."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if of is not None:
            of.issue_cert("client@example.org").configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Server:
    """An application that replies with the client's address, when `release` is set."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self.close = close
        self.requested = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()
        self.left = asyncio.Event()  # a client has gone away before its reply
        self.port = 0

    async def reply(self, request: Request) -> Response:
        with contextlib.suppress(ClientDisconnect):
            await request.body()
        self.requested.set()
        release = asyncio.ensure_future(self.release.wait())
        gone = asyncio.ensure_future(request.receive())
        await asyncio.wait((gone, release), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
        release.cancel()
        gone.cancel()
        return JSONResponse([request.url.scheme, *(request.client or ())])


@contextlib.asynccontextmanager
async def serving(tls: Tls | None, **options: Any) -> AsyncIterator[Server]:
    async with contextlib.AsyncExitStack() as stack:
        server = Server(stack.aclose)
        app = Starlette(routes=[Route("/", server.reply, methods=["GET", "POST"])])
        listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        server.port = listening.getsockname()[1]
        await serve_app(stack, app, [listening], error_body=error_to_json, tls=tls, **options)
        yield server


def connect(port: int, context: ssl.SSLContext, **options: Any) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1", **options)
    except BaseException:
        plain.close()
        raise


def request(connection: socket.socket) -> bytes:
    """Send a request; return the reply, whose body ends with a bracket."""
    connection.sendall(GET)
    reply = b""
    while not reply.endswith(b"]"):
        received = connection.recv(4096)
        if not received:  # TLS 1.3: a client learns only now that its certificate was refused
            raise ConnectionResetError("closed without a reply")
        reply += received
    return reply


def get(port: int, context: ssl.SSLContext, **options: Any) -> bytes:
    with connect(port, context, **options) as connection:
        return request(connection)


def served(reply: bytes) -> bool:
    return reply.startswith(b"HTTP/1.1 200 ")


def descriptors() -> int:
    """How many are open; uvloop opens one for itself with the first connection."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - less work while many are open


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def silent(port: int, number: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that never shake hands."""
    opened: list[socket.socket] = []
    try:
        for _ in range(number):
            opened.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            if sent:
                opened[-1].sendall(sent)
        yield opened
    finally:
        for each in opened:
            each.close()


# --- renewal --------------------------------------------------------------------------------------


def test_an_authority_that_was_replaced_is_trusted_no_more(run: Run, files: Files) -> None:
    old, new = trustme.CA(), trustme.CA()

    async def main() -> None:
        tls = Tls(files.mutual(old))
        of_old, of_new = files.client(old), files.client(new)
        async with serving(tls) as server:
            kept = await asyncio.to_thread(connect, server.port, of_old)
            with kept:
                assert served(await asyncio.to_thread(request, kept))
                session = kept.session
                assert session is not None
                with pytest.raises(REFUSED):
                    await asyncio.to_thread(get, server.port, of_new)
                files.mutual(new)
                tls.renew()
                for options in ({}, {"session": session}):  # nor may it resume
                    with pytest.raises(REFUSED):
                        await asyncio.to_thread(get, server.port, of_old, **options)
                assert served(await asyncio.to_thread(get, server.port, of_new))
                # Connections that are open go on.
                assert served(await asyncio.to_thread(request, kept))

    run(main)


def test_a_key_of_another_kind_replaces_the_one_before(run: Run, files: Files) -> None:
    files.issue(trustme.KeyType.RSA)

    async def main() -> None:
        tls = Tls(files.settings)
        rsa = files.client()
        rsa.maximum_version = ssl.TLSVersion.TLSv1_2
        rsa.set_ciphers(RSA_ONLY)
        async with serving(tls) as server:
            assert served(await asyncio.to_thread(get, server.port, rsa))
            files.issue(trustme.KeyType.ECDSA)
            tls.renew()
            with pytest.raises(REFUSED):
                await asyncio.to_thread(get, server.port, rsa)
            assert served(await asyncio.to_thread(get, server.port, files.client()))

    run(main)


def test_the_application_gets_scheme_and_address_of_the_client(run: Run, files: Files) -> None:
    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            connection = await asyncio.to_thread(connect, server.port, files.client())
            with connection:
                assert connection.selected_alpn_protocol() is None  # none was offered
                host, port = connection.getsockname()
                body = (await asyncio.to_thread(request, connection)).partition(b"\r\n\r\n")[2]
                assert body == f'["https","{host}",{port}]'.encode()

    run(main)


# --- silence and garbage --------------------------------------------------------------------------


def test_silent_connections_take_a_bounded_number_of_descriptors(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKES", 40)
    monkeypatch.setattr(http_server, "HANDSHAKE_TIMEOUT_S", 600.0)  # it is the bound that helps

    async def main() -> None:
        async with serving(Tls(files.settings), max_connections=4) as server:
            assert served(await asyncio.to_thread(get, server.port, files.client()))
            before = descriptors()
            with silent(server.port, 300):
                # The kernel has accepted all; we accept when the loop runs.
                assert descriptors() >= before + 300 - OTHERS
                assert served(await asyncio.to_thread(get, server.port, files.client()))
                most = 300 + 40 + 4 + OTHERS
                await until(lambda: descriptors() <= before + most)
                for _ in range(5):
                    assert served(await asyncio.to_thread(get, server.port, files.client()))
            await until(lambda: descriptors() <= before + OTHERS)

    run(main)


def test_a_flood_never_takes_many_descriptors_at_once(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKES", 40)
    accepted: list[int] = []
    begin = http_server._TlsListener._begin

    def counting(self: Any, connection: socket.socket) -> None:
        begin(self, connection)
        accepted.append(descriptors())

    monkeypatch.setattr(http_server._TlsListener, "_begin", counting)

    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            assert served(await asyncio.to_thread(get, server.port, files.client()))
            accepted.clear()
            with silent(server.port, 400):
                before = descriptors()
                await until(lambda: len(accepted) == 400)
                # What was ended in one turn of the loop is closed in the next but one.
                most = 40 + 3 * http_server._ACCEPTED_AT_ONCE + OTHERS
                assert max(accepted) <= before + most

    run(main)


def test_a_handshake_that_takes_too_long_is_ended(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKE_TIMEOUT_S", 0.3)

    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
                with silent(server.port, 1, begun) as (connection,):
                    assert await asyncio.to_thread(_ends, connection)

    run(main)


def test_records_of_one_byte_are_decrypted_in_short_turns(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop would decrypt all that it reads at once: some hundred thousand records."""
    sizes: list[int] = []
    update = reads.TlsReads.buffer_updated

    def counting(self: Any, nbytes: int) -> None:
        sizes.append(nbytes)
        update(self, nbytes)

    monkeypatch.setattr(reads.TlsReads, "buffer_updated", counting)
    number = 100_000

    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            tiny = functools.partial(send_in_records_of, 1, number, server.port, files.client())
            with await asyncio.to_thread(tiny) as connection:
                await until(lambda: sum(sizes) >= number)
                connection.shutdown(socket.SHUT_RDWR)
            assert max(sizes) <= number / 5
            sizes.clear()
            large = functools.partial(send_in_records_of, 16384, 100, server.port, files.client())
            with await asyncio.to_thread(large) as connection:
                await until(lambda: sum(sizes) >= 100 * 16384)
                connection.shutdown(socket.SHUT_RDWR)
            # Ordinary bodies are read in large pieces, as far as they have come.
            assert max(sizes) >= 16384

    run(main)


def send_in_records_of(size: int, number: int, port: int, context: ssl.SSLContext) -> socket.socket:
    """Send the larger part of a body in records of `size` bytes, as fast as the network takes."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    records = context.wrap_bio(received, sent, server_hostname="127.0.0.1")
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    while True:
        try:
            records.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(sent.read())
            received.write(connection.recv(65536))
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {2 * size * number}\r\n\r\n"
    records.write(head.encode())
    for _ in range(number):
        records.write(b"x" * size)
    connection.sendall(sent.read())
    return connection


def _ends(connection: socket.socket) -> bool:
    """Wait until the other side closes, and close then."""
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return True


def test_garbage_costs_nothing_and_is_not_logged(
    run: Run, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"

    async def main() -> None:
        tls = Tls(files.mutual(trustme.CA()))
        async with serving(tls) as server:
            with pytest.raises(REFUSED):  # without a certificate
                await asyncio.to_thread(get, server.port, files.client())
            before = descriptors()
            for sent in (GET, b"\x00" * 4096, os.urandom(4096), hello + os.urandom(200), hello):
                with silent(server.port, 5, sent) as opened:
                    for connection in opened:
                        if sent is not hello:
                            assert await asyncio.to_thread(_ends, connection)
                        else:  # it hangs up, politely or not
                            linger = struct.pack("ii", 1, 0)
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with silent(server.port, 5) as opened:
                for connection in opened:
                    connection.shutdown(socket.SHUT_WR)
                    assert await asyncio.to_thread(_ends, connection)
            await until(lambda: descriptors() <= before + 2)

    run(main)
    assert [r.message for r in caplog.records if r.levelno > logging.INFO] == []


def test_without_descriptors_it_waits_and_goes_on(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "_ACCEPT_AGAIN_S", 0.2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            assert served(await asyncio.to_thread(get, server.port, files.client()))
            with silent(server.port, 1):
                # Lower than the highest in use: there is none to be had.
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                try:
                    await until(lambda: "could not be accepted" in caplog.text)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert served(await asyncio.to_thread(get, server.port, files.client()))

    run(main)


# --- half-closed ---------------------------------------------------------------------------------


def test_a_client_that_leaves_is_noticed_and_one_that_waits_gets_its_reply(run: Run) -> None:
    async def main() -> None:
        async with serving(None) as server:
            for leaves in (False, True):
                server.requested.clear()
                server.release.clear()
                server.left.clear()
                client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
                with client:
                    client.sendall(GET)
                    await asyncio.wait_for(server.requested.wait(), PATIENCE_S)
                    if leaves:
                        client.close()
                        await asyncio.wait_for(server.left.wait(), PATIENCE_S)
                        continue
                    client.shutdown(socket.SHUT_WR)
                    interim = await asyncio.to_thread(client.recv, 25)
                    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
                    server.release.set()
                    assert served(await asyncio.to_thread(client.recv, 4096))
                    assert not server.left.is_set()

    run(main)


# --- the end -------------------------------------------------------------------------------------


def test_the_end_answers_what_runs_and_closes_the_rest(run: Run, files: Files) -> None:
    async def main() -> None:
        async with serving(Tls(files.settings)) as server:
            assert served(await asyncio.to_thread(get, server.port, files.client()))
            before = descriptors()
            idle = await asyncio.to_thread(connect, server.port, files.client())
            assert served(await asyncio.to_thread(request, idle))
            server.requested.clear()
            server.release.clear()
            asking = asyncio.create_task(asyncio.to_thread(get, server.port, files.client()))
            await asyncio.wait_for(server.requested.wait(), PATIENCE_S)
            with silent(server.port, 3) as opened:
                goodbye = asyncio.create_task(asyncio.to_thread(_ends, idle))
                asyncio.get_running_loop().call_later(0.5, server.release.set)
                await server.close()
                assert served(await asking)
                assert await goodbye
                for connection in opened:
                    assert await asyncio.to_thread(_ends, connection)
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.to_thread(get, server.port, files.client())
            await until(lambda: descriptors() < before)  # the one that listened is closed, too

    run(main)


def test_plain_http_is_served_as_before(run: Run) -> None:
    async def main() -> None:
        async with serving(None) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as plain:
                assert b'["http",' in await asyncio.to_thread(request, plain)

    run(main)


def test_a_low_limit_never_raises_what_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, 600))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert affordable_connections(16) == 16
    assert affordable_connections(4096) == 150
