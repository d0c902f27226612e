"""Each mix of client and port: the error says what listens there and what to write instead."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from client import classify_client, diagnosis
from client.credentials import Credentials
from client.errors import ConnectionLost, NotListening, Unreachable
from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import RpcClient
from client.rpc_client import main as rpc_client
from protocol.errors import NotReady, Overloaded, ServiceNotFound
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.patience import PATIENCE_S

from .conftest import _Handler, _Server, _Servicer

trustme = pytest.importorskip("trustme")


class Authority:
    """An authority, its certificate as a file, and a certificate that it has issued."""

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir()
        self._ca = trustme.CA()
        self._issued = self._ca.issue_cert(*names)
        self.file, self.certificate, self.key = (folder / f"{n}.pem" for n in ("ca", "cert", "key"))
        self._ca.cert_pem.write_to_path(self.file)
        chain = b"".join(blob.bytes() for blob in self._issued.cert_chain_pems)
        self.certificate.write_bytes(chain)
        self.key.write_bytes(self._issued.private_key_pem.bytes())

    def context(self, *, mutual: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def grpc_credentials(self, *, mutual: bool = False) -> Any:
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials(
            [pair], self.file.read_bytes() if mutual else None, require_client_auth=mutual
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority", "localhost", "127.0.0.1")


class _TlsServer(_Server):
    """Shakes hands in the thread of the connection."""

    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)


@pytest.fixture
def start_https(fake: Any, authority: Authority) -> Iterator[Any]:
    started = []

    def start(context: ssl.SSLContext | None = None) -> int:
        server = _TlsServer(("127.0.0.1", 0), _Handler)
        server.fake, server.context = fake, context or authority.context()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return int(server.server_address[1])

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def start_rpc_over_tls(fake: Any, authority: Authority) -> Iterator[Any]:
    servers = []

    def start(*, mutual: bool = False) -> int:
        server = grpc.server(futures.ThreadPoolExecutor(8))
        pb_grpc.add_PipelineServiceServicer_to_server(_Servicer(fake), server)
        credentials = authority.grpc_credentials(mutual=mutual)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return int(port)

    yield start
    for server in servers:
        server.stop(0).wait()


def failure(client: Any) -> str:
    with client, pytest.raises(Unreachable) as caught:
        client.classify(b"can")
    assert not isinstance(caught.value, NotListening)
    assert "\n" not in str(caught.value)
    return str(caught.value)


GIVE_HTTP = "this port speaks gRPC, not HTTP; give the HTTP port"
GIVE_RPC = "this port speaks HTTP, not gRPC; give the RPC port"


def test_http_to_an_rpc_port(endpoint: str, start_rpc_over_tls: Any, authority: Authority) -> None:
    assert GIVE_HTTP in failure(HttpClient(f"http://{endpoint}"))
    assert GIVE_HTTP in failure(HttpClient(f"https://{endpoint}"))
    port = start_rpc_over_tls()
    assert GIVE_HTTP in failure(HttpClient(f"http://127.0.0.1:{port}"))
    trusting = Credentials(ca=authority.file)
    assert GIVE_HTTP in failure(HttpClient(f"https://127.0.0.1:{port}", credentials=trusting))


def test_rpc_to_an_http_port(url: str, start_https: Any, authority: Authority) -> None:
    port = start_https()
    plain, trusting = url.removeprefix("http://"), Credentials(ca=authority.file)
    assert GIVE_RPC in failure(RpcClient(plain))
    assert GIVE_RPC in failure(RpcClient(plain, tls=True))
    assert GIVE_RPC in failure(RpcClient(f"127.0.0.1:{port}"))
    assert GIVE_RPC in failure(RpcClient(f"127.0.0.1:{port}", credentials=trusting))


def test_tls_on_one_side_only(
    url: str, endpoint: str, start_https: Any, start_rpc_over_tls: Any
) -> None:
    http, rpc = f"127.0.0.1:{start_https()}", f"127.0.0.1:{start_rpc_over_tls()}"
    assert "it speaks TLS; write https://" in failure(HttpClient(f"http://{http}"))
    assert "without TLS; write http://" in failure(HttpClient(url.replace("http", "https")))
    assert "it speaks TLS; give --tls or --ca" in failure(RpcClient(rpc))
    assert "without TLS; leave out --tls" in failure(RpcClient(endpoint, tls=True))


def test_a_certificate_that_is_not_trusted(
    start_https: Any, start_rpc_over_tls: Any, authority: Authority
) -> None:
    reason = "its certificate is not trusted: .*; trust it, or the authority .* with --ca FILE"
    http, rpc = f"https://127.0.0.1:{start_https()}", f"127.0.0.1:{start_rpc_over_tls()}"
    for client in (HttpClient(http), RpcClient(rpc, tls=True)):
        with client, pytest.raises(Unreachable, match=reason):
            client.classify(b"can")
    trusting = Credentials(ca=authority.file)
    for client in (
        HttpClient(http, credentials=trusting, timeout_s=PATIENCE_S),
        RpcClient(rpc, credentials=trusting, timeout_s=PATIENCE_S),
    ):
        with client:
            assert client.classify(b"can")


def test_a_certificate_of_another_host(
    start_https: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path / "other", "elsewhere.example")
    port = start_https(other.context())
    client = HttpClient(f"https://127.0.0.1:{port}", credentials=Credentials(ca=other.file))
    assert "it is not issued for 127.0.0.1; use the name" in failure(client)


def test_a_service_that_requires_a_certificate(
    start_https: Any, start_rpc_over_tls: Any, authority: Authority
) -> None:
    http = f"https://127.0.0.1:{start_https(authority.context(mutual=True))}"
    rpc = f"127.0.0.1:{start_rpc_over_tls(mutual=True)}"
    trusting = Credentials(ca=authority.file)
    for client in (HttpClient(http, credentials=trusting), RpcClient(rpc, credentials=trusting)):
        assert "requires a certificate of the client; give --cert and --key" in failure(client)
    own = Credentials(ca=authority.file, certificate=authority.certificate, key=authority.key)
    for client in (
        HttpClient(http, credentials=own, timeout_s=PATIENCE_S),
        RpcClient(rpc, credentials=own, timeout_s=PATIENCE_S),
    ):
        with client:
            assert client.classify(b"can")


def test_the_commands_print_it_and_no_hint_at_a_service_that_runs(
    in_process: Any, url: str, endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"can")
    done = in_process(rpc_client, "--endpoint", url.removeprefix("http://"), tmp_path)
    assert done.returncode == 2
    assert GIVE_RPC in done.stderr
    assert "make serve" not in done.stderr
    done = in_process(http_client, "--url", endpoint, tmp_path)
    assert (done.returncode, GIVE_HTTP in done.stderr) == (2, True)


def test_a_proxy_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{free_port}")
    for name in ("no_proxy", "NO_PROXY", "grpc_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for client in (HttpClient("http://192.0.2.1:9"), RpcClient("192.0.2.1:9")):
        said = failure(client)
        assert f"the way is through the proxy 127.0.0.1:{free_port} of the environment" in said
        assert "no_proxy names hosts" in said
        assert "secret" not in said
    monkeypatch.setenv("no_proxy", "192.0.2.1")
    assert not diagnosis.proxy_of("192.0.2.1", "http")
    monkeypatch.setenv("grpc_proxy", "http://proxy:3128")
    assert diagnosis.proxy_of("example.com", "grpc", "http") == "proxy:3128"


def test_a_proxy_without_a_scheme_and_a_port_of_no_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """As curl, urllib and httpx read them; the proxy here is the service itself."""
    proxy = url.removeprefix("http://")
    monkeypatch.setenv("http_proxy", proxy)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HttpClient("http://192.0.2.1:9", wire="envelope", timeout_s=PATIENCE_S) as client:
        assert client.classify(b"can")[0].label == "can 0"
    monkeypatch.setenv("no_proxy", "192.0.2.1:9")
    assert diagnosis.proxy_of("192.0.2.1", "http", port=9) == ""
    assert diagnosis.proxy_of("192.0.2.1", "http", port=80) == proxy


def test_nothing_is_looked_at_after_a_reply(
    url: str, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    monkeypatch.setattr("client.http_client.look_at", lambda *at: looked.append(at))
    with HttpClient(url, timeout_s=PATIENCE_S) as client:
        client.classify(b"can")
        with pytest.raises(ConnectionLost, match="broke the connection"):
            client.classify(b"reset")
    assert not looked


def test_a_call_that_the_server_cancels(fake: Any) -> None:
    """A server of gRPC that stops cancels calls that come in just then."""

    class Stopping(_Servicer):
        def inference(self, _request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.CANCELLED, "")

    server = grpc.server(futures.ThreadPoolExecutor(1))
    pb_grpc.add_PipelineServiceServicer_to_server(Stopping(fake), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with (
        RpcClient(f"127.0.0.1:{port}", timeout_s=PATIENCE_S) as client,
        pytest.raises(ConnectionLost, match=r"ended the call .* the service is stopping"),
    ):
        client.classify(b"can")
    server.stop(0).wait()


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_a_service_that_starts_is_waited_for(
    wire: str, fake: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_client, "FIRST_PAUSE_S", 0.001)
    address = request.getfixturevalue("url" if wire == "http" else "endpoint")
    kind: Any = HttpClient if wire == "http" else RpcClient
    fake.refusals = [NotReady("starting")] * 9
    with kind(address, timeout_s=PATIENCE_S) as client:
        assert client.classify(b"can")
        assert len(fake.requests) == 10
        fake.refusals = [Overloaded("full")]
        with pytest.raises(Overloaded):
            client.classify(b"can")
    fake.refusals = [NotReady("starting")] * 999
    with kind(address, timeout_s=1.0) as client, pytest.raises(NotReady):
        client.classify(b"can")


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_a_service_that_does_not_listen_yet_is_waited_for(
    wire: str, fake: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_client, "LISTEN_PATIENCE_S", PATIENCE_S)
    refused, listening = threading.Event(), threading.Event()
    pause = classify_client._pause

    def noted(attempt: int) -> float:
        refused.set()
        return pause(attempt)

    def serve() -> None:
        refused.wait(PATIENCE_S)
        server: Any
        if wire == "http":
            server = _Server(("127.0.0.1", free_port), _Handler)
            server.fake = fake
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            server = grpc.server(futures.ThreadPoolExecutor(1))
            pb_grpc.add_PipelineServiceServicer_to_server(_Servicer(fake), server)
            server.add_insecure_port(f"127.0.0.1:{free_port}")
            server.start()
        listening.wait(PATIENCE_S)
        if wire == "http":
            server.shutdown()
            server.server_close()
        else:
            server.stop(0).wait()

    monkeypatch.setattr(classify_client, "_pause", noted)
    serving = threading.Thread(target=serve)
    serving.start()
    kind: Any = HttpClient if wire == "http" else RpcClient
    try:
        with kind(f"127.0.0.1:{free_port}", timeout_s=PATIENCE_S) as client:
            assert client.classify(b"can")
    finally:
        listening.set()
        serving.join()


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_a_port_that_stays_closed_is_given_up_before_the_timeout(
    wire: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_client, "LISTEN_PATIENCE_S", 0.3)
    kind: Any = HttpClient if wire == "http" else RpcClient
    client = kind(f"127.0.0.1:{free_port}", timeout_s=2 * PATIENCE_S)
    with client, pytest.raises(NotListening, match="connection refused"):
        client.classify(b"can")


def test_an_unnamed_service_is_the_only_one(
    url: str, endpoint: str, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.services = ("flowers",)
    for client in (
        HttpClient(url, timeout_s=PATIENCE_S),
        RpcClient(endpoint, timeout_s=PATIENCE_S),
    ):
        with client:
            outcomes = list(client.classify_many([b"can"] * 8, jobs=4))
            assert all(outcome.error is None for outcome in outcomes)
            assert client.classify(b"can")
    for client in (HttpClient(url, service="waste"), RpcClient(endpoint, service="waste")):
        with client, pytest.raises(ServiceNotFound, match="services: flowers"):
            client.classify(b"can")
    fake.services = ("flowers", "fruit")
    for client in (HttpClient(url), RpcClient(endpoint)):
        with client, pytest.raises(ServiceNotFound, match="services: flowers, fruit"):
            client.classify(b"can")
    fake.services = ("flowers", "waste")
    for client in (HttpClient(url), RpcClient(endpoint)):
        with client:
            assert client.classify(b"can")
            assert fake.requests[-1].service == "waste"


def test_a_server_that_lists_nothing_keeps_its_own_error(url: str, fake: Any) -> None:
    fake.services, fake.lists = ("flowers",), False
    with HttpClient(url) as client, pytest.raises(ServiceNotFound, match="services: flowers"):
        client.classify(b"can")
