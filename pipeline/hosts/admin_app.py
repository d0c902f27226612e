"""The private address of a host: metrics, status and reload, for its operator alone.

GET  /metrics      for Prometheus (docs/monitoring.md)
GET  /-/status     what is served, workers, queues, counters, as JSON; `python -m pipeline status`
POST /-/reload     configuration and bundles anew; the reply comes at its end
GET  /health/...   as on the public port
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..admission.origins import comes_from_a_page, names_a_machine
from ..admission.services import Services
from ..observation.metrics import CONTENT_TYPE, Metrics
from ..web.health import health_routes
from .reload import ReloadError

logger = logging.getLogger(__name__)


class Administered(Protocol):
    """A host as the admin address needs it."""

    def status(self) -> dict[str, Any]:
        """Return the whole status, JSON-able."""
        ...

    async def reload(self) -> float:
        """Reload; return the seconds it took. Raises ReloadError: nothing has changed."""
        ...

    def as_before(self) -> dict[str, list[str]]:
        """Return the kinds of these files that the last reload did not change, by service."""
        ...

    def served(self) -> dict[str, Any]:
        """Return the files that are served, with their hashes, by service; JSON-able."""
        ...


def build_metrics_app(metrics: Metrics) -> Starlette:
    """Return an application that serves /metrics and nothing else."""
    return Starlette(routes=[_metrics_route(metrics)])


def build_admin_app(
    host: Administered, services: Services, metrics: Metrics, *, local: bool = True
) -> Starlette:
    """Return the application of the admin address; `local`: only this machine reaches it."""

    async def status(_request: Request) -> Response:
        return _json(host.status(), 200)

    async def reload(request: Request) -> Response:
        if comes_from_a_page(request.headers):
            return _json({"status": "refused", "error": "not from a web page"}, 403)
        try:
            seconds = await host.reload()
        except ReloadError as error:
            return _json({"status": "unchanged", "error": str(error)}, 409)
        report = {
            "status": "reloaded",
            "seconds": round(seconds, 3),
            "services": services.names,
            "served": host.served(),
            "as_before": host.as_before(),
        }
        return _json(report, 200)

    return Starlette(
        middleware=[Middleware(_NoRebinding)] if local else [],
        routes=[
            _metrics_route(metrics),
            Route("/-/status", status),
            Route("/-/reload", reload, methods=["POST"]),
            *health_routes(services),
        ],
    )


class _NoRebinding:
    """Refuses requests to a host name of the internet: see `names_a_machine`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "")
        if names_a_machine(host):
            await self._app(scope, receive, send)
        else:
            refused = {
                "status": "refused",
                "error": f"{host[:80]!r} is not the name of this machine",
            }
            await _json(refused, 403)(scope, receive, send)


def _metrics_route(metrics: Metrics) -> Route:
    async def expose(_request: Request) -> Response:
        return Response(metrics.exposition(), 200, media_type=CONTENT_TYPE)

    return Route("/metrics", expose)


def _json(content: object, status: int) -> Response:
    body = json.dumps(content, default=_plain).encode()
    return Response(body, status, media_type="application/json")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
