from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from client.health import main


class _Handler(BaseHTTPRequestHandler):
    answers: list[int]

    def do_GET(self) -> None:
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"status": "?"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("answers", "wait", "code"), [([200], 0, 0), ([503], 0, 1), ([503, 503, 200], 20, 0)]
)
def test_ready_not_ready_and_ready_after_a_while(answers: list[int], wait: int, code: int) -> None:
    handler = type("Handler", (_Handler,), {"answers": answers})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/health/ready"
            assert main([url, "--wait", str(wait)]) == code
        finally:
            server.shutdown()
            thread.join()


def test_an_unreachable_service_and_a_wrong_address(root: Path, free_port: int) -> None:
    command = [sys.executable, "-m", "client.health"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{free_port}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot reach" in done.stderr
    wrong = subprocess.run(
        [*command, "file:///etc/passwd"], cwd=root, capture_output=True, check=False
    )
    assert wrong.returncode == 2
