"""One machine: HTTP and RPC on one event loop in this process, the predictors in their own.

open ports -> answer health -> start engines -> ready -> (SIGTERM) not ready, answer on for
           `shutdown_delay` -> refuse new work -> finish what runs -> close

SIGHUP reloads (`hosts.reload`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from protocol.key_value.reply import error_to_json

from ..admission.desk import Desk
from ..admission.inflight import Inflight
from ..admission.key_ring import KeyRing
from ..admission.running import RunningRequests
from ..admission.services import Services
from ..admission.tls import Tls
from ..engine.engine import Engine
from ..engine.report import BatchReport
from ..engine.status import Counters
from ..observation.metrics import Metrics
from ..observation.observer import Observer
from ..observation.request_log import LINES_A_SECOND, RequestLog
from ..observation.tracing import tracing_from_environment
from ..rpc.arriving import Arriving
from ..rpc.call import READ_TIMEOUT_S
from ..rpc.leaving import NOTICE_S, RpcPort, RunningCalls
from ..rpc.server import build_rpc_server
from ..settings.config import ServiceSettings
from ..settings.op import OpSettings
from ..version import version
from ..web.app import build_http_app
from ..web.server import CLOSE_GRACE_S, affordable_connections, serve_app
from .admin_app import build_admin_app, build_metrics_app
from .engines import Engines, engine_of
from .ports import Addresses, OpenPorts, add_rpc_port, is_loopback, open_ports
from .reload import Reloader
from .served import served
from .signals import handled_signals
from .trimming import MemoryTrim

logger = logging.getLogger(__name__)

# Clients of RPC have closed their connections after GOAWAY, or get theirs closed, by then.
_ACCEPTED_CALLS_S = NOTICE_S + 3.0


class StandaloneHost:
    """Serves `settings` until SIGTERM or SIGINT, then drains; reloads at SIGHUP.

    `run` returns the exit code: 0 after a drain, 1 when work had to be cut off.
    """

    def __init__(
        self, settings: ServiceSettings, load: Callable[[], ServiceSettings] | None = None
    ) -> None:
        """Prepare to serve; `load` reads the settings again for a reload."""
        self._settings = settings
        self._since = time.monotonic()
        self._counters: dict[str, Counters] = {}
        self._metrics = Metrics(version(), _longest_s(settings))
        self._tracing = tracing_from_environment()
        self._log = RequestLog(LINES_A_SECOND)
        self._observer = Observer(self._metrics, self._log, self._tracing)
        self._keys = KeyRing(settings.api_keys)
        # One body of full size must always be possible.
        inflight = Inflight(max(settings.access.max_inflight_bytes, settings.max_body_bytes))
        self._engines = Engines({op.name: self._make_engine(op) for op in settings.ops})
        self._metrics.watch(lambda: self._engines.serving)
        self._services = Services(self._engines.serving, max_images=settings.max_images)
        self._running = RunningRequests()
        self._desk = Desk(
            self._services,
            self._observer,
            inflight,
            keys=self._keys,
            cors_origins=settings.access.cors_origins,
            running=self._running,
        )
        self._reloader = Reloader(
            settings,
            self._services,
            self._engines,
            make_engine=self._make_engine,
            load=load,
            apply=self._apply,
            on_done=lambda succeeded: self._metrics.reload_done(succeeded=succeeded),
        )
        self._tls: Tls | None = None
        self._max_connections = 0
        self._rpc: RpcPort | None = None
        self._leaving_rpc: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def engines(self) -> Mapping[str, Engine]:
        """The engines that serve now, by service."""
        return self._engines.serving

    async def run(self, on_ready: Callable[[Addresses, float], None]) -> int:
        """Open the ports, start the engines, call `on_ready(addresses, seconds)`, serve, drain.

        Raises:
            ConfigError: a port is in use or may not be opened; a certificate cannot be read.
            EngineStartError: no worker of a service could start.
        """
        started = time.monotonic()
        if self._settings.access.tls is not None:
            self._tls = Tls(self._settings.access.tls)
        ports = open_ports(self._settings)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._tracing.close)
            stack.callback(self._log.close)
            stack.enter_context(
                handled_signals(
                    self.stop, lambda: self.stop(at_once=True), self._reloader.reload_soon
                )
            )
            self._max_connections = affordable_connections(self._settings.access.max_connections)
            if ports.rpc_reservation is not None:
                stack.callback(ports.rpc_reservation.close)
            await self._serve_http(stack, ports)
            stack.push_async_callback(self._engines.close)
            if await self._start_engines():
                # Not before: a proxy sees no error in the replies of RPC, and a port that is closed
                # sends it to another replica.
                await self._serve_rpc(stack, ports)
                self._services.phase = "ready"
                on_ready(ports.addresses, time.monotonic() - started)
                trim = MemoryTrim(lambda: self._desk.inflight.reserved > 0)
                trimming = asyncio.create_task(trim.run(), name="trim")
                await self._stop.wait()
                trimming.cancel()
                await self._leave()
            self._services.phase = "stopping"
            await self._reloader.stop()
            return 0 if await self._drain() else 1

    def stop(self, *, at_once: bool = False) -> None:
        """Begin to stop; `run` returns when it is done.

        `shutdown_delay` is left out if `at_once`, and ends at the second call.
        """
        if at_once or self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def reload(self) -> float:
        """Load configuration and bundles anew and switch to them; return the seconds it took.

        Raises:
            ReloadError: nothing has changed.
        """
        return await self._reloader.reload()

    def status(self) -> dict[str, Any]:
        """Return what `python -m pipeline status` shows."""
        served = self.served()
        tunings = {op.name: op.tuning for op in self._reloader.settings.ops}
        return {
            "version": version(),
            "pid": os.getpid(),
            "source": self._reloader.settings.source,
            "file": self._reloader.settings.file,
            "uptime_s": round(time.monotonic() - self._since, 1),
            "phase": self._services.phase,
            "last_reload": self._reloader.last,
            "services": [
                {
                    **dataclasses.asdict(engine.status()),
                    "facts": dict(engine.facts),
                    "served": served[name],
                    "tuning": dataclasses.asdict(tunings[name]),
                }
                for name, engine in self.engines.items()
            ],
        }

    def as_before(self) -> dict[str, list[str]]:
        """Return the kinds of files that the last reload did not change, by service."""
        return self._reloader.as_before

    def served(self) -> dict[str, Any]:
        """Return what is served now, by service: see `hosts.served`."""
        return served(self._reloader.settings, self.engines)

    async def _serve_http(self, stack: contextlib.AsyncExitStack, ports: OpenPorts) -> None:
        public = build_http_app(self._desk, max_body_bytes=self._settings.max_body_bytes)
        if ports.http:
            await serve_app(
                stack,
                public,
                ports.http,
                error_body=error_to_json,
                max_connections=self._max_connections,
                keep_alive_s=self._settings.keep_alive_s,
                tls=self._tls,
                on_refused=self._observer.no_request,
                is_leaving=lambda: self._services.leaving,
                running=self._running,
            )
        if ports.metrics:
            metrics = build_metrics_app(self._metrics)
            await serve_app(stack, metrics, ports.metrics, error_body=error_to_json)
        if ports.admin:
            local = is_loopback(ports.admin[0])
            admin = build_admin_app(self, self._services, self._metrics, local=local)
            await serve_app(stack, admin, ports.admin, error_body=error_to_json)

    async def _serve_rpc(self, stack: contextlib.AsyncExitStack, ports: OpenPorts) -> None:
        if ports.rpc is None:
            return
        calls = RunningCalls()
        arriving = Arriving(self._desk.inflight, self._settings.max_body_bytes)
        server = build_rpc_server(
            self._desk,
            max_body_bytes=self._settings.max_body_bytes,
            max_connections=self._max_connections,
            longest_s=READ_TIMEOUT_S + _longest_s(self._settings),
            calls=calls,
            arriving=arriving,
        )
        credentials = self._tls.grpc_credentials() if self._tls is not None else None
        add_rpc_port(server, ports.rpc, credentials)
        await server.start()
        if ports.rpc_reservation is not None:
            ports.rpc_reservation.close()
        arriving.port.number = ports.rpc[1]
        self._rpc = RpcPort(server, ports.rpc[1], calls, tls=self._tls is not None)
        stack.push_async_callback(self._end_rpc)

    async def _end_rpc(self) -> None:
        assert self._rpc is not None  # noqa: S101 - registered by `_serve_rpc`
        await (self._leaving_rpc or self._rpc.leave(CLOSE_GRACE_S))

    async def _start_engines(self) -> bool:
        """Start all engines at once; False when a signal came before they were ready."""
        starting = asyncio.create_task(self._engines.start(), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return False
        await starting
        return True

    async def _leave(self) -> None:
        """Answer on for `shutdown_delay`, so that load balancers learn that this is not ready."""
        self._services.phase = "leaving"
        delay_s = self._reloader.settings.shutdown_delay_s
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), delay_s)
        if self._rpc is not None:
            # Calls have longer than the drain, which ends them with an error of ours.
            drain_s = self._reloader.settings.drain_timeout_s
            patience_s = _ACCEPTED_CALLS_S + drain_s + CLOSE_GRACE_S
            self._leaving_rpc = asyncio.create_task(self._rpc.leave(patience_s))
            # Those that are on their way are not refused: a proxy would not send them again.
            await asyncio.wait({self._leaving_rpc}, timeout=_ACCEPTED_CALLS_S)

    async def _drain(self) -> bool:
        """Finish what has begun; return whether nothing had to be cut off."""
        timeout_s = self._reloader.settings.drain_timeout_s
        ends = time.monotonic() + timeout_s
        # Before the engines, which take no new work then: uploads and what is parsed are new there.
        if not await self._running.ended(timeout_s):
            self._running.cut()
        drained = await self._engines.drain(max(0.0, ends - time.monotonic()))
        # What is open now ends with an error of ours, before gRPC would cut it off.
        await self._engines.close()
        cut_off = self._running.cut_off
        if cut_off or not drained:
            some = f"{cut_off} requests were" if cut_off else "work was"
            logger.warning("%s cut off after %g s of draining", some, timeout_s)
        return drained and not cut_off

    def _make_engine(self, op: OpSettings) -> Engine:
        counters = self._counters.setdefault(op.name, Counters())  # a reload goes on counting

        def on_batch(report: BatchReport) -> None:
            self._metrics.batch_done(op.name, report)
            self._tracing.batch_done(report)

        return engine_of(op, counters=counters, on_batch=on_batch)

    def _apply(self, settings: ServiceSettings) -> None:
        """Take over keys and certificates of new settings; what can fail comes first."""
        if self._tls is not None:
            self._tls.renew(settings.access.tls)
        self._keys.replace(settings.api_keys)
        self._metrics.reach(_longest_s(settings))


def _longest_s(settings: ServiceSettings) -> float:
    """Return the longest time that a request may take in a service."""
    return max(op.engine.timeout_s for op in settings.ops)
