"""The service under attack: where it listens, what its configuration allows, and its API keys."""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import json
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from benchmarks.service import HOST, run_service
from client.health import check as check_health
from pipeline.engine.family import pss_kib

from ..images import BUNDLE

SERVICE = "waste"
WORKERS = 2
TIMEOUT_S = 5.0
# Smaller than the defaults, so that an attack reaches them within seconds.
MAX_INFLIGHT_MIB = 256
MAX_BODY_MIB = 64
MAX_CONNECTIONS = 512
MAX_PIXELS = 50_000_000
DRAIN_S = 5.0

HONEST_KEY = "honest-" + "h" * 24
ATTACKER_KEY = "attacker-" + "a" * 24
RATED_KEY = "rated-" + "r" * 24
RATE, BURST = 5, 10  # images a second, and at once, of the rated key


class NotLoopbackError(Exception):
    """The address leads off this machine; nothing is sent there."""


class NoTargetError(Exception):
    """There is no service to attack; the text says why."""


class Mode(enum.Enum):
    """Who attacks: without keys in the service, without a key of it, or with one."""

    OPEN = "open"
    STRANGER = "no key"
    HOLDER = "with key"

    @property
    def keyed(self) -> bool:
        """Whether the service requires keys."""
        return self is not Mode.OPEN


@dataclass(frozen=True, slots=True)
class Target:
    """A running service; `key` is what the attacker sends, empty for none.

    Raises:
        NotLoopbackError: `host` is not on this machine alone.
    """

    http_port: int
    rpc_port: int
    admin_port: int
    process_id: int
    key: str = ""
    host: str = HOST
    service: str = SERVICE

    def __post_init__(self) -> None:
        """Refuse to be anywhere but on this machine."""
        loopback(self.host)


def loopback(host: str) -> str:
    """Return the address of `host`.

    Raises:
        NotLoopbackError: one of its addresses is not of this machine alone.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise NotLoopbackError(f"{host} has no address ({error}); give 127.0.0.1") from error
    for address in sorted(found):
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise NotLoopbackError(
                f"{host} is {address}, which is not a loopback address; attack a service on this "
                "machine, such as 127.0.0.1"
            )
    return sorted(found)[0]


@dataclass(frozen=True)
class Attacked:
    """A running service, its keys (empty: it requires none), its process if we began it."""

    http_port: int
    rpc_port: int
    admin_port: int
    process_id: int
    process: subprocess.Popen[bytes] | None = None
    service: str = SERVICE
    key: str = ATTACKER_KEY
    honest_key: str = HONEST_KEY

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        if self.process is not None:
            return self.process.poll() is None
        return Path(f"/proc/{self.process_id}").exists()

    def seen_by(self, mode: Mode) -> Target:
        """Return the service as an attacker of this mode sees it."""
        key = self.key if mode is Mode.HOLDER else ""
        ports = (self.http_port, self.rpc_port, self.admin_port)
        return Target(*ports, self.process_id, key, service=self.service)


@contextlib.contextmanager
def start_target(folder: Path, log: IO[str], *, keyed: bool) -> Iterator[Attacked]:
    """Start the embedded bundle on free ports of 127.0.0.1."""
    config = folder / ("keyed.yml" if keyed else "open.yml")
    lines = [
        f"max_body_mb: {MAX_BODY_MIB}",
        f"max_inflight_mb: {MAX_INFLIGHT_MIB}",
        f"max_connections: {MAX_CONNECTIONS}",
        f"drain_timeout: {DRAIN_S:g}",
        "op:",
        f"  {SERVICE}:",
        f"    concurrency: {WORKERS}",
        f"    timeout: {TIMEOUT_S * 1000:.0f}",
        f"    max_image_pixels: {MAX_PIXELS}",
        f'    local_service_conf: {{model_config: "{BUNDLE}", devices: "", thread_num: 1}}',
    ]
    if keyed:
        keys = folder / "keys.yml"
        keys.write_text(
            f"honest: {HONEST_KEY}\nattacker: {ATTACKER_KEY}\n"
            f"rated: {{key: {RATED_KEY}, rate: {RATE}, burst: {BURST}}}\n",
            encoding="utf-8",
        )
        keys.chmod(0o600)
        lines.append(f"api_keys: {keys}")
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with run_service(config, ["log.level=warning"], log=log) as running:
        ports = (running.http_port, running.rpc_port, running.admin_port)
        own = Attacked(*ports, running.process_id, running.process)
        yield own if keyed else replace(own, key="", honest_key="")


def find_target(addresses: Sequence[str], key: str) -> Attacked:
    """Return the service that runs at these addresses of HTTP, RPC and administration.

    Raises:
        NotLoopbackError: one of them leads off this machine.
        NoTargetError: there is no service, or its process cannot be measured from here.
    """
    ports = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        if loopback(host) != HOST or not port.isdecimal():
            raise NoTargetError(f"{address} is not of the form {HOST}:PORT")
        ports.append(int(port))
    http_port, rpc_port, admin_port = ports
    reached, reply = check_health(f"http://{HOST}:{admin_port}/-/status")
    if not reached:
        raise NoTargetError(f"no admin address at {addresses[2]}: {reply[:200]}")
    status = json.loads(reply)
    process_id, service = status["pid"], status["services"][0]["name"]
    try:
        pss_kib(process_id)
    except (OSError, StopIteration) as error:
        raise NoTargetError(
            f"the memory of process {process_id} cannot be measured ({error}); run the attack as "
            "the user of the service, and inside its container"
        ) from error
    return Attacked(http_port, rpc_port, admin_port, process_id, None, service, key, key)
