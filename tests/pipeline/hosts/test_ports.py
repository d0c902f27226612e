"""Both wires listen on the configured addresses, and on no others."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc.aio
import pytest

from pipeline.hosts.ports import add_rpc_port, open_ports
from pipeline.settings.config import load_settings
from pipeline.settings.errors import ConfigError

LOOPBACKS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def reached(port: int) -> set[str]:
    """Return the addresses of this machine on which a process listens."""
    found = set()
    for address, family in LOOPBACKS.items():
        with socket.socket(family) as connection:
            connection.settimeout(20)
            if connection.connect_ex((address, port)) == 0:
                found.add(address)
    return found


@pytest.fixture(scope="module", autouse=True)
def _ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("0.0.0.0", {"127.0.0.1"}),
        ("::", {"127.0.0.1", "::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("localhost", {"127.0.0.1"}),
    ],
)
async def test_both_wires_listen_on_the_same_addresses(
    root: Path, host: str, wanted: set[str]
) -> None:
    overrides = [f"host='{host}'", "http_port=0", "rpc_port=0", "admin.port="]
    ports = open_ports(load_settings(root / "configs" / "waste.yml", overrides))
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    try:
        assert ports.rpc is not None
        add_rpc_port(server, ports.rpc, None)
        await server.start()
        assert ports.addresses.http_port is not None
        assert reached(ports.addresses.http_port) == wanted
        assert ports.addresses.rpc_port == ports.rpc[1]
        assert reached(ports.rpc[1]) == wanted
    finally:
        await server.stop(0)
        ports.close()


async def test_an_rpc_port_that_was_taken_meanwhile_is_an_error_in_one_line() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((host, 0)) as taken:
            address = host, taken.getsockname()[1]
            with pytest.raises(ConfigError, match="rpc_port") as raised:
                add_rpc_port(server, address, None)
            assert "\n" not in str(raised.value)
    await server.start()
    await server.stop(0)
