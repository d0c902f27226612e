"""The certificate of both wires: what a renewal takes over, and what it leaves alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from pipeline.admission.tls import Tls
from pipeline.settings.access import TlsSettings
from pipeline.settings.errors import ConfigError
from tests.patience import PATIENCE_S

trustme = pytest.importorskip("trustme")

METHOD = "/test/Echo"


@pytest.fixture
def authority() -> Any:
    return trustme.CA()


@pytest.fixture
def settings(tmp_path: Path, authority: Any) -> TlsSettings:
    issue(tmp_path, authority)
    trustme.CA().cert_pem.write_to_path(tmp_path / "client-ca.pem")
    return TlsSettings(
        certificate=str(tmp_path / "cert.pem"),
        key=str(tmp_path / "key.pem"),
        client_ca=str(tmp_path / "client-ca.pem"),
    )


def issue(folder: Path, authority: Any) -> None:
    issued = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (folder / "cert.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())


def trusted(tls: Tls) -> list[Any]:
    return [entry["serialNumber"] for entry in tls.context.get_ca_certs()]


def test_a_renewal_holds_nothing_of_the_one_before(settings: TlsSettings, tmp_path: Path) -> None:
    tls = Tls(settings)
    first, context = trusted(tls), tls.context
    assert len(first) == 1
    trustme.CA().cert_pem.write_to_path(tmp_path / "client-ca.pem")
    tls.renew()
    assert tls.context is not context
    assert len(trusted(tls)) == 1
    assert trusted(tls) != first
    # Who is just being let in goes on with what was there when he came.
    assert [entry["serialNumber"] for entry in context.get_ca_certs()] == first


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "client-ca.pem"])
@pytest.mark.parametrize("wrong", ["missing", "text"])
def test_a_renewal_that_fails_changes_neither_wire(
    settings: TlsSettings, tmp_path: Path, name: str, wrong: str
) -> None:
    tls = Tls(settings)
    context, configuration = tls.context, tls._grpc
    if wrong == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text("nothing of the kind", encoding="ascii")
    with pytest.raises(ConfigError):
        tls.renew()
    assert tls.context is context
    assert tls._grpc is configuration


@contextlib.asynccontextmanager
async def echoing(tls: Tls) -> AsyncIterator[int]:
    async def echo(request: bytes, _: Any) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test", {"Echo": handler})]
    )
    port = server.add_secure_port("localhost:0", tls.grpc_credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


def channel(port: int, authority: Any, of: Any) -> grpc.aio.Channel:
    mine = of.issue_cert("client@example.org")
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        mine.private_key_pem.bytes(),
        b"".join(blob.bytes() for blob in mine.cert_chain_pems),
    )
    # Each of its own, or gRPC would share the connection of an earlier one.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(f"localhost:{port}", credentials, options)


async def call(opened: grpc.aio.Channel) -> bytes:
    return await opened.unary_unary(METHOD)(b"ping", timeout=PATIENCE_S)


async def test_over_rpc_an_authority_that_was_replaced_is_trusted_no_more(
    settings: TlsSettings, tmp_path: Path, authority: Any
) -> None:
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    tls = Tls(settings)
    async with echoing(tls) as port, channel(port, authority, old) as kept:
        assert await call(kept) == b"ping"
        async with channel(port, authority, new) as refused:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await call(refused)
        new.cert_pem.write_to_path(tmp_path / "client-ca.pem")
        tls.renew()
        async with channel(port, authority, old) as refused:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await call(refused)
        async with channel(port, authority, new) as accepted:
            assert await call(accepted) == b"ping"
        # Connections that are open go on.
        assert await call(kept) == b"ping"
