"""Health over HTTP: /health/live and /health/ready, the same on the public and the admin port."""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..admission.services import Services


def health_routes(services: Services) -> list[Route]:
    """Return the two routes."""

    async def live(_request: Request) -> Response:
        return _json(b'{"status": "alive"}', 200)

    async def ready(_request: Request) -> Response:
        states = {name: services.state(name) for name in services.names}
        status = "ready" if services.ready else services.phase
        if status == "ready" and not services.ready:
            status = "not ready"
        body = json.dumps({"status": status, "services": states}).encode()
        return _json(body, 200 if services.ready else 503)

    async def wrong_method(_request: Request) -> Response:
        # Without this route a POST would be reported as a service `health` that does not exist.
        raise HTTPException(405, headers={"Allow": "GET, HEAD"})

    routes = {"/health/live": live, "/health/ready": ready}
    return [
        *(Route(path, endpoint) for path, endpoint in routes.items()),
        *(Route(path, wrong_method, methods=["POST"]) for path in routes),
    ]


def _json(body: bytes, status: int) -> Response:
    return Response(body, status, media_type="application/json")
