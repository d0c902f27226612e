"""One machine: HTTP and RPC on one event loop in this process, the predictors in their own.

open ports -> answer health -> start engines -> ready -> (SIGTERM) refuse new work
           -> finish what runs -> close
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc.aio
import uvicorn

from ..config import ConfigError, ServiceSettings
from ..engine.engine import Engine
from .http_app import build_http_app
from .rpc_servicer import build_rpc_server
from .services import Services

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
CLOSE_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports that were really opened; None where not served."""

    host: str
    http_port: int | None
    rpc_port: int | None


class StandaloneHost:
    """Serves `settings` until SIGTERM or SIGINT, then drains.

    `run` returns the exit code: 0 after a drain, 1 when work had to be cut off.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.engines = {op.name: Engine.from_op(op) for op in settings.ops}
        self.services = Services(self.engines, max_images=settings.max_images)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin to stop; `run` returns when it is done."""
        self._stop.set()

    async def run(self, on_ready: Callable[[Addresses, float], None]) -> int:
        """Open the ports, start the engines, call `on_ready(addresses, seconds)`, serve, drain.

        Raises:
            ConfigError: a port is in use or may not be opened.
            EngineStartError: no worker of a service could start.
        """
        started = time.monotonic()
        sockets, addresses = open_ports(self._settings)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._signals())
            await self._serve_http(stack, sockets)
            await self._serve_rpc(stack, addresses)
            stack.push_async_callback(self._close_engines)
            if await self._start_engines():
                self.services.phase = "ready"
                on_ready(addresses, time.monotonic() - started)
                await self._stop.wait()
            self.services.phase = "stopping"
            return 0 if await self._drain() else 1

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _serve_http(
        self, stack: contextlib.AsyncExitStack, sockets: list[socket.socket]
    ) -> None:
        if not sockets:
            return
        app = build_http_app(self.services, max_body_bytes=self._settings.max_body_bytes)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(CLOSE_GRACE_S),
        )
        server = _UvicornServer(config)
        serving = asyncio.create_task(server.serve(sockets), name="http")

        async def close() -> None:
            server.should_exit = True
            await serving

        stack.push_async_callback(close)

    async def _serve_rpc(self, stack: contextlib.AsyncExitStack, addresses: Addresses) -> None:
        if addresses.rpc_port is None:
            return
        server = build_rpc_server(self.services, max_body_bytes=self._settings.max_body_bytes)
        _add_rpc_port(server, addresses.host, addresses.rpc_port)
        await server.start()
        stack.push_async_callback(server.stop, CLOSE_GRACE_S)

    async def _start_engines(self) -> bool:
        """Start all engines at once; False when a signal came before they were ready."""
        starting: asyncio.Future[object] = asyncio.ensure_future(
            asyncio.gather(*(engine.start() for engine in self.engines.values()))
        )
        stopping: asyncio.Future[object] = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return False
        await starting
        return True

    async def _drain(self) -> bool:
        timeout_s = self._settings.drain_timeout_s
        drained = await asyncio.gather(*(e.drain(timeout_s) for e in self.engines.values()))
        if not all(drained):
            logger.warning("work was cut off after %g s of draining", timeout_s)
        return all(drained)

    async def _close_engines(self) -> None:
        await asyncio.gather(*(engine.close() for engine in self.engines.values()))


class _UvicornServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the host stops it, after the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def open_ports(settings: ServiceSettings) -> tuple[list[socket.socket], Addresses]:
    """Open the HTTP port and choose the RPC port; sockets come back listening.

    Raises:
        ConfigError: a port is in use, or the address may not be listened on.
    """
    sockets = []
    http_port = rpc_port = None
    if settings.http_port is not None:
        listening = _listen(settings.host, settings.http_port, "http_port")
        sockets.append(listening)
        http_port = listening.getsockname()[1]
    if settings.rpc_port is not None:
        try:
            # gRPC opens its port itself and says little when it cannot; ask the kernel first.
            with _listen(settings.host, settings.rpc_port, "rpc_port") as probe:
                rpc_port = probe.getsockname()[1]
        except ConfigError:
            for listening in sockets:
                listening.close()
            raise
    return sockets, Addresses(settings.host, http_port, rpc_port)


def _listen(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = "is in use" if error.errno == 98 else f"cannot be opened ({error.strerror})"
        raise ConfigError(
            f"port {port} ({key}) on {host} {reason}; stop what holds it or choose another: "
            f"-o {key}={port + 1 if port else 0}"
        ) from error


def _add_rpc_port(server: grpc.aio.Server, host: str, port: int) -> None:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(f"port {port} (rpc_port) on {host} cannot be opened: {error}") from error
    if bound != port:
        raise ConfigError(f"port {port} (rpc_port) on {host} cannot be opened")
