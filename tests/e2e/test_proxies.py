"""A proxy of the environment, as Docker sets one, never stands between this machine and itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from client.address import endpoint_is_loopback, is_loopback
from client.health import check

IMAGE = "examples/images/glass_bottle.jpg"
PROXY_VARIABLES = (
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
)


class Proxy(ThreadingHTTPServer):
    """Says that all is well, of everything, and notes what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment with this proxy, and no host that is reached without."""
        url = f"http://127.0.0.1:{self.server_address[1]}"
        kept = {k: v for k, v in os.environ.items() if k.lower() not in ("no_proxy", "grpc_proxy")}
        return {**kept, **dict.fromkeys((*PROXY_VARIABLES, "grpc_proxy"), url)}


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        body = b'{"status": "ready", "services": [], "key": [], "value": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_CONNECT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def run(root: Path, proxy: Proxy, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=root,
        env=proxy.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_proxy_answers_for_other_machines(root: Path, proxy: Proxy) -> None:
    """So the tests below would fail if it were used; and other machines may be behind one."""
    url = "http://service.example:18080/health/ready"
    done = run(root, proxy, "-m", "client.health", url)
    assert (done.returncode, proxy.seen) == (0, [f"GET {url}"])
    run(root, proxy, "client/http_client.py", "--url", "http://service.example", IMAGE)
    assert proxy.seen[1:] == ["POST http://service.example/waste/prediction"]
    run(root, proxy, "client/rpc_client.py", "--endpoint", "service.example:9993", IMAGE)
    assert proxy.seen[2] == "CONNECT service.example:9993"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])
def test_health_of_this_machine_is_its_own(
    root: Path, proxy: Proxy, free_port: int, host: str
) -> None:
    url = f"http://{host}:{free_port}/health/ready"
    done = run(root, proxy, "-m", "client.health", url)
    assert done.returncode == 1
    assert "cannot reach" in done.stderr
    assert proxy.seen == []


def test_the_health_check_of_the_image_is_its_own(root: Path, proxy: Proxy, tiny: Any) -> None:
    """The command that the Dockerfile has, of a service that is there and of one that is not."""
    dockerfile = (root / "Dockerfile").read_text()
    assert 'CMD exec python -m client.health "$HEALTH_URL"' in dockerfile
    done = run(root, proxy, "-m", "client.health", f"{tiny.admin}/health/ready")
    assert (done.returncode, json.loads(done.stdout)["services"]) == (0, {"waste": "ready"})
    assert proxy.seen == []


@pytest.mark.parametrize("client", ["http", "rpc", "status", "reload", "evaluation"])
def test_commands_reach_a_service_on_this_machine(
    root: Path, proxy: Proxy, tiny: Any, tmp_path: Path, client: str
) -> None:
    folder = tmp_path / "red"
    folder.mkdir()
    (folder / "1.jpg").write_bytes((root / IMAGE).read_bytes())
    commands = {
        "http": ("client/http_client.py", "--url", tiny.url, IMAGE),
        "rpc": ("client/rpc_client.py", "--endpoint", tiny.endpoint, IMAGE),
        "status": ("-m", "pipeline", "status", "--url", tiny.admin, "--seconds", "0.1"),
        "reload": ("-m", "pipeline", "reload", "--url", tiny.admin),
        "evaluation": ("-m", "tools.evaluation", tmp_path, "--url", tiny.url),
    }
    done = run(root, proxy, *commands[client])
    assert done.returncode == 0, done.stderr
    assert proxy.seen == []


def test_the_health_of_a_benchmark_and_a_demonstration(
    proxy: Proxy, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for their service with this function."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, proxy.environment[name])
    assert not check(f"http://127.0.0.1:{free_port}/health/ready")[0]
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_what_this_machine_is(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("endpoint", "own"),
    [
        ("127.0.0.1:9993", True),
        ("[::1]:9993", True),
        ("dns:///localhost:9993", True),
        ("dns://8.8.8.8/localhost:9993", True),
        ("ipv4:127.0.0.1:9993", True),
        ("ipv6:[::1]:9993", True),
        ("unix:/run/waste.sock", True),
        ("dns:///service.example:9993", False),
        ("ipv4:10.0.0.1:9993", False),
        ("service.example:9993", False),
    ],
)
def test_endpoints_of_this_machine(endpoint: str, own: bool) -> None:
    assert endpoint_is_loopback(endpoint) is own
