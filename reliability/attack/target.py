"""The service under attack: where it listens, what its configuration allows, and its API keys."""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.service import RunningService, run_service

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
    host: str = "127.0.0.1"
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


@contextlib.contextmanager
def start_target(folder: Path, log: IO[str], *, keyed: bool) -> Iterator[RunningService]:
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
    with run_service(config, ["log.level=warning"], log=log) as service:
        yield service


def target_of(service: RunningService, mode: Mode) -> Target:
    """Return the service as an attacker of this mode sees it."""
    key = ATTACKER_KEY if mode is Mode.HOLDER else ""
    return Target(
        service.http_port,
        service.rpc_port,
        service.admin_port,
        service.process_id,
        key,
        loopback("127.0.0.1"),
    )
