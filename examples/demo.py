"""`make demo`: start the real service, classify the sample images over HTTP and RPC, stop it.

Ports are free ones, so that the demonstration runs beside a service that is already there.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 120.0


def main() -> int:
    """Run the demonstration; return 0 when every image was answered and the service stopped."""
    http_port, rpc_port = free_ports(2)
    print("==> starting the service: python pipeline/web_service.py", flush=True)
    with service(http_port, rpc_port) as process:
        url = f"http://127.0.0.1:{http_port}"
        wait_until_ready(process, url)
        http = run("client/http_client.py", "--url", url, "--topk", "2")
        rpc = run("client/rpc_client.py", "--endpoint", f"127.0.0.1:{rpc_port}")
        print("\n==> stopping the service (SIGTERM)", flush=True)
        process.terminate()
        stopped = process.wait(timeout=60)
    print(f"==> stopped, exit code {stopped}")
    if http or rpc or stopped:
        print("error: the demonstration failed; see above", file=sys.stderr)
        return 1
    print("\nYour own image:     make serve, then in another terminal")
    print("                    .venv/bin/python client/http_client.py my.jpg")
    print("Your own model:     README, 'Your own model in five minutes'")
    return 0


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def service(http_port: int, rpc_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service; whatever happens, it is gone afterwards."""
    command = [sys.executable, "pipeline/web_service.py", "-o", "host=127.0.0.1"]
    command += ["-o", f"http_port={http_port}", "-o", f"rpc_port={rpc_port}"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the service is ready; end the demonstration if it cannot start."""
    sys.path[0] = str(ROOT)
    from client.health import check

    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"error: the service ended with exit code {process.returncode}")
        if check(f"{url}/health/ready")[0]:
            return
        time.sleep(0.1)
    raise SystemExit(f"error: the service was not ready within {START_TIMEOUT_S:g} s")


def run(*command: str) -> int:
    """Run one of the clients as a reader would type it; return its exit code."""
    print(f"\n==> python {' '.join(command)}", flush=True)
    return subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from protocol.console import as_command

    sys.exit(as_command(main))
