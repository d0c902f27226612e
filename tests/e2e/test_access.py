"""Who may come in, on both ports of a real service: certificates, keys, rates, pages."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from client.credentials import Credentials
from client.errors import ConnectionLost, Unreachable
from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import RpcClient
from client.rpc_client import main as rpc_client
from pipeline.__main__ import main as pipeline
from pipeline.web.server import HANDSHAKES
from protocol.errors import RateLimited, Unauthenticated
from tests.patience import PATIENCE_S

trustme = pytest.importorskip("trustme")

APP, BATCH, LATER = "0123456789abcdef0123", "fedcba9876543210fedc", "aaaaaaaaaaaaaaaaaaaaa"
JPEG = {"Content-Type": "image/jpeg"}


class Authority:
    """A certificate authority for one test, and files signed by it."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self._folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Write a certificate for this machine and its key; return their files."""
        issued = self._authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        certificate.write_bytes(chain)
        key.write_bytes(issued.private_key_pem.bytes())
        return certificate, key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def config(tiny_config: Path) -> Path:
    return tiny_config


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shown_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE_S)


def test_tls_on_both_ports_renewed_by_a_reload(
    start_any_service: Any, config: Path, authority: Authority, images: list[bytes]
) -> None:
    certificate, key = authority.issue("server")
    options = ("op.waste.concurrency=1", f"tls={{certificate: {certificate}, key: {key}}}")
    trusting = Credentials(ca=authority.ca)
    with start_any_service(config, *options) as service:
        ports = (service.http_port, service.rpc_port)
        url, endpoint = f"https://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
        with HttpClient(url, credentials=trusting) as http:
            best = http.classify(images[0])
        with RpcClient(endpoint, credentials=trusting) as rpc:
            assert rpc.classify(images[0])[0].class_id == best[0].class_id
        # Who does not trust it, or does not speak it, gets nothing.
        with HttpClient(url) as http, pytest.raises(Unreachable, match=r"(?i)certificate"):
            http.classify(images[0])
        with (
            HttpClient(f"http://127.0.0.1:{ports[0]}") as http,
            pytest.raises(Unreachable, match="write https"),
        ):
            http.classify(images[0])
        with RpcClient(endpoint) as rpc, pytest.raises(Unreachable, match="give --tls or --ca"):
            rpc.classify(images[0])
        with pytest.raises(ssl.SSLError):
            speak(ports[0], authority.ca, ssl.TLSVersion.TLSv1_1)
        assert speak(ports[0], authority.ca, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"

        before = {shown_certificate(port) for port in ports}
        assert len(before) == 1
        authority.issue("server")
        assert (
            httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S).json()["status"]
            == "reloaded"
        )
        after = {shown_certificate(port) for port in ports}
        assert len(after) == 1
        assert after != before
        # One that does not fit changes nothing.
        certificate.write_bytes(authority.issue("other")[0].read_bytes())
        refused = httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S)
        assert refused.status_code == 409
        assert "is not the key of" in refused.json()["error"]
        assert {shown_certificate(port) for port in ports} == after
        with HttpClient(url, credentials=trusting) as http:
            assert http.classify(images[0])[0].class_id == best[0].class_id


def speak(port: int, ca: Path, version: ssl.TLSVersion) -> str | None:
    """Return the version that a connection of no newer one than `version` agrees on."""
    context = ssl.create_default_context(cafile=ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.version()


def test_mutual_tls(
    start_any_service: Any,
    config: Path,
    authority: Authority,
    images: list[bytes],
    tmp_path: Path,
) -> None:
    certificate, key = authority.issue("server")
    files = f"{{certificate: {certificate}, key: {key}, client_ca: {authority.ca}}}"
    mine = Credentials(None, authority.ca, *authority.issue("client"))
    (tmp_path / "elsewhere").mkdir()
    stranger = Credentials(None, authority.ca, *Authority(tmp_path / "elsewhere").issue("client"))
    nobody = Credentials(ca=authority.ca)
    with start_any_service(config, "op.waste.concurrency=1", f"tls={files}") as service:
        url = f"https://127.0.0.1:{service.http_port}"
        with HttpClient(url, credentials=mine) as http:
            best = http.classify(images[0])
        with RpcClient(service.endpoint, credentials=mine) as rpc:
            assert rpc.classify(images[0])[0].class_id == best[0].class_id
        for shown in (nobody, stranger):
            with (
                HttpClient(url, credentials=shown) as http,
                pytest.raises((Unreachable, ConnectionLost)),
            ):
                http.classify(images[0])
            with (
                RpcClient(service.endpoint, credentials=shown) as rpc,
                pytest.raises((Unreachable, ConnectionLost)),
            ):
                rpc.classify(images[0])
        assert httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).status_code == 200


def test_a_client_authority_is_replaced_by_a_reload(
    start_any_service: Any,
    config: Path,
    authority: Authority,
    images: list[bytes],
    tmp_path: Path,
) -> None:
    certificate, key = authority.issue("server")
    old, new = (Authority(_folder(tmp_path / name)) for name in ("old", "new"))
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_bytes(old.ca.read_bytes())
    files = f"{{certificate: {certificate}, key: {key}, client_ca: {client_ca}}}"
    of_old = Credentials(None, authority.ca, *old.issue("client"))
    of_new = Credentials(None, authority.ca, *new.issue("client"))
    with start_any_service(config, "op.waste.concurrency=1", f"tls={files}") as service:
        url = f"https://127.0.0.1:{service.http_port}"

        def served(credentials: Credentials) -> tuple[bool, bool]:
            """Whether who shows these is served over HTTP, over RPC."""
            answers = []
            for client in (
                HttpClient(url, credentials=credentials),
                RpcClient(service.endpoint, credentials=credentials),
            ):
                with client:
                    try:
                        client.classify(images[0])
                    except (Unreachable, ConnectionLost):
                        answers.append(False)
                    else:
                        answers.append(True)
            return answers[0], answers[1]

        # An HttpClient gives up a connection that it has not used for five seconds.
        with httpx.Client(
            base_url=url,
            verify=of_old.ssl_context(),
            limits=httpx.Limits(keepalive_expiry=None),
            timeout=PATIENCE_S,
        ) as kept:
            assert kept.post("/waste/prediction", content=images[0], headers=JPEG).is_success
            assert (served(of_old), served(of_new)) == ((True, True), (False, False))
            client_ca.write_bytes(new.ca.read_bytes())
            reloaded = httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S)
            assert reloaded.json()["status"] == "reloaded"
            assert (served(of_old), served(of_new)) == ((False, False), (True, True))
            assert kept.post("/waste/prediction", content=images[0], headers=JPEG).is_success


def test_the_containers_health_check_needs_no_certificate_and_no_key(
    start_any_service: Any, config: Path, authority: Authority, root: Path, tmp_path: Path
) -> None:
    dockerfile = (root / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK .*\\\n +CMD (.*)$", dockerfile, re.M)
    assert found is not None
    (tmp_path / "python").symlink_to(sys.executable)

    def check(url: str) -> int:
        return subprocess.run(
            ["/bin/sh", "-c", found[1].replace("--wait 30", "--wait 0")],
            cwd=root,
            env={"PATH": str(tmp_path), "HEALTH_URL": url},
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=PATIENCE_S,
        ).returncode

    certificate, key = authority.issue("server")
    files = f"{{certificate: {certificate}, key: {key}, client_ca: {authority.ca}}}"
    environment = {"PADDLE_SERVING_KIT_API_KEYS": f"app: {APP}"}
    options = ("op.waste.concurrency=1", f"tls={files}")
    with start_any_service(config, *options, environment=environment) as service:
        assert check(f"{service.admin}/health/ready") == 0
        assert check(f"{service.url}/health/ready") == 1
        assert service.stop() == 0
        assert check(f"{service.admin}/health/ready") == 1


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_who_never_shakes_hands_takes_no_place(
    start_any_service: Any, config: Path, authority: Authority, images: list[bytes]
) -> None:
    certificate, key = authority.issue("server")
    options = (f"tls={{certificate: {certificate}, key: {key}}}", "max_connections=16")
    with (
        start_any_service(config, "op.waste.concurrency=1", *options) as service,
        contextlib.ExitStack() as opened,
    ):
        before = open_descriptors(service.process.pid)
        for _ in range(800):
            opened.enter_context(
                socket.create_connection(("127.0.0.1", service.http_port), timeout=PATIENCE_S)
            )
        url = f"https://127.0.0.1:{service.http_port}"
        with HttpClient(url, credentials=Credentials(ca=authority.ca)) as http:
            http.classify(images[0])
        wait_for(lambda: open_descriptors(service.process.pid) <= before + HANDSHAKES + 16)
        assert httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).status_code == 200


def open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_wrong_files_are_one_line_at_start(
    authority: Authority, in_process: Callable[..., Any], tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    other = authority.issue("other")[1]
    text = tmp_path / "text.pem"
    text.write_text("nothing of the kind", encoding="ascii")
    for files, cause in (
        (f"certificate: {certificate}, key: {other}", "is not the key of"),
        (f"certificate: {text}, key: {key}", "must be a certificate and its key in PEM form"),
        (f"certificate: {certificate}, key: {text}", "must be a certificate and its key"),
        (f"certificate: {tmp_path}, key: {key}", "tls.certificate: cannot read"),
        (f"certificate: {certificate}, key: {key}, client_ca: {text}", "holds no certificate"),
        (f"certificate: {certificate}", "tls.key is missing"),
    ):
        done = in_process(pipeline, "--check", "-ohttp_port=0", f"-otls={{{files}}}")
        assert done.returncode == 1, files
        last = done.stderr.strip().splitlines()
        assert cause in last[-1], done.stderr
        assert len(last) == 1


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yml"
    path.write_text(f"app: {APP}\nbatch: {{key: {BATCH}, rate: 0.01, burst: 3}}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(start_any_service: Any, config: Path, keys_file: Path) -> Iterator[Any]:
    options = ("op.waste.concurrency=1", f"api_keys={keys_file}", "log.level=info")
    with start_any_service(config, *options, "cors_origins=[https://shop.example]") as service:
        yield service


def test_metrics_count_by_the_name_of_a_key_and_never_have_the_key(
    guarded: Any, images: list[bytes]
) -> None:
    with (
        HttpClient(guarded.url, credentials=Credentials(APP)) as http,
        RpcClient(guarded.endpoint, credentials=Credentials("w" * 20)) as rpc,
        HttpClient(guarded.url, credentials=Credentials(BATCH)) as batch,
    ):
        http.classify(images[0])
        with pytest.raises(Unauthenticated):
            rpc.classify(images[0])
        for _ in range(3):
            batch.classify(images[0])
        with pytest.raises(RateLimited):
            batch.classify(images[0])
    text = httpx.get(f"{guarded.admin}/metrics", timeout=PATIENCE_S).text
    counted = "serving_api_key_requests_total"
    for key, outcome, count in (
        ("app", "ok", 1),
        ("batch", "ok", 3),
        ("batch", "rate_limited", 1),
        ("unknown", "unauthenticated", 1),
    ):
        labels = f'key="{key}",outcome="{outcome}",service="waste"'
        assert f"{counted}{{{labels}}} {count}.0" in text
    assert 'outcome="rate_limited",protocol="http",service="waste"} 1.0' in text
    assert APP not in text
    assert BATCH not in text


def test_keys_on_both_ports(guarded: Any, keys_file: Path, images: list[bytes]) -> None:
    app, wrong = Credentials(APP), Credentials("w" * 20)
    with (
        HttpClient(guarded.url, credentials=app) as http,
        RpcClient(guarded.endpoint, credentials=app) as rpc,
    ):
        best = http.classify(images[0])
        assert rpc.classify(images[0])[0].class_id == best[0].class_id
    for credentials in (None, wrong):
        with (
            HttpClient(guarded.url, credentials=credentials) as http,
            RpcClient(guarded.endpoint, credentials=credentials) as rpc,
        ):
            for client in (http, rpc):
                with pytest.raises(Unauthenticated):
                    client.classify(images[0])
    answer = httpx.post(
        f"{guarded.url}/waste/prediction", content=images[0], headers=JPEG, timeout=PATIENCE_S
    )
    assert (answer.status_code, answer.json()["err_no"]) == (401, 3006)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    # Also for what is not there, so that nobody learns what is.
    assert (
        httpx.post(f"{guarded.url}/other/prediction", content=b"", timeout=PATIENCE_S).status_code
        == 401
    )
    # A body that is never sent is not waited for.
    with socket.create_connection(("127.0.0.1", guarded.http_port), timeout=PATIENCE_S) as unsent:
        unsent.sendall(b"POST /waste/prediction HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert b" 401 " in unsent.recv(4096).partition(b"\r\n")[0]
    for open_to_all in ("/health/live", "/health/ready"):
        assert httpx.get(f"{guarded.url}{open_to_all}", timeout=PATIENCE_S).status_code == 200

    # Rates: three images at once, then as good as none.
    with (
        HttpClient(guarded.url, credentials=Credentials(BATCH)) as http,
        RpcClient(guarded.endpoint, credentials=Credentials(BATCH)) as rpc,
    ):
        http.classify(images[0])
        http.classify(images[1])
        rpc.classify(images[0])
        for client in (http, rpc):
            with pytest.raises(RateLimited, match="batch may send"):
                client.classify(images[0])
    refused = httpx.post(
        f"{guarded.url}/waste/prediction",
        content=images[0],
        headers={**JPEG, "X-API-Key": BATCH},
        timeout=PATIENCE_S,
    )
    assert (refused.status_code, refused.json()["err_no"]) == (429, 3007)
    assert int(refused.headers["Retry-After"]) > 60

    # Keys are exchanged by a reload.
    keys_file.write_text(f"later: {LATER}\n")
    guarded.process.send_signal(signal.SIGHUP)
    with HttpClient(guarded.url, credentials=Credentials(LATER)) as http:
        wait_for(lambda: not isinstance(attempt(http, images[0]), Unauthenticated))
        assert http.classify(images[0])[0].class_id == best[0].class_id
    with HttpClient(guarded.url, credentials=app) as http, pytest.raises(Unauthenticated):
        http.classify(images[0])

    assert guarded.stop() == 0
    everything = "".join([*guarded.out, *guarded.err])
    assert "unauthenticated (3006)" in everything
    for secret in (APP, BATCH, LATER, "w" * 20):
        assert secret not in everything


def attempt(client: HttpClient, image: bytes) -> object:
    try:
        return client.classify(image)
    except Unauthenticated as error:
        return error


def test_pages_of_the_listed_origins_may_ask(guarded: Any) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    url = f"{guarded.url}/waste/prediction"
    allowed = httpx.options(
        url, headers={"Origin": "https://shop.example", **preflight}, timeout=PATIENCE_S
    )
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = httpx.options(
        url, headers={"Origin": "https://evil.example", **preflight}, timeout=PATIENCE_S
    )
    assert "Access-Control-Allow-Origin" not in other.headers


def test_without_configuration_no_page_may_ask(tiny: Any) -> None:
    answer = httpx.get(
        f"{tiny.url}/", headers={"Origin": "https://shop.example"}, timeout=PATIENCE_S
    )
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    reload = httpx.post(
        f"{tiny.admin}/-/reload", headers={"Origin": "https://shop.example"}, timeout=PATIENCE_S
    )
    assert reload.status_code == 403


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_commands_with_a_key_from_file_and_environment(
    guarded: Any,
    in_process: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    images: list[bytes],
    wire: str,
) -> None:
    image, secret = tmp_path / "image.jpg", tmp_path / "secret"
    image.write_bytes(images[0])
    secret.write_text(f"{APP}\n")
    main, *address = {
        "http": (http_client, "--url", guarded.url),
        "rpc": (rpc_client, "--endpoint", guarded.endpoint),
    }[wire]
    command = (main, *address, image, "--json")
    assert in_process(*command, "--api-key-file", secret).returncode == 0
    without = in_process(*command)
    assert without.returncode == 1
    assert "err_no 3006" in without.stdout
    missing = in_process(*command, "--api-key-file", tmp_path / "none")
    assert missing.returncode == 2
    assert "cannot read" in missing.stderr
    monkeypatch.setenv("PADDLE_SERVING_KIT_API_KEY", APP)
    assert in_process(*command).returncode == 0


def test_workers_hold_no_listening_socket(tiny: Any) -> None:
    listening = listening_inodes(tiny.process.pid)
    assert len(listening & socket_inodes(tiny.process.pid)) >= 2  # HTTP, RPC, admin
    workers = tiny.workers()
    assert workers
    for worker in workers:
        assert socket_inodes(worker)  # its connection to the service
        assert not socket_inodes(worker) & listening_inodes(worker)


def socket_inodes(pid: int) -> set[str]:
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it may just have been closed
            links.add(str(descriptor.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def listening_inodes(pid: int) -> set[str]:
    """Return the sockets that listen in the process's network, state 0A of proc(5)."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[9])
    return found


def test_grpc_health_needs_no_key(guarded: Any) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(guarded.endpoint) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
