"""HTTP, as an ASGI application: its routes and what is not a call of any wire.

POST /<service>/prediction   the key/value envelope, a raw image, or a multipart upload;
                             the last two also with ?form=, see `protocol.forms`
GET  /health/live            200 while the process answers
GET  /health/ready           200 when every service can answer, 503 before and while stopping
GET  /                       what is served here
GET  /openapi.json           all of this for programs
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.errors import MethodNotAllowed, ServiceNotFound, ServingError
from protocol.key_value.codec import JsonCodec

from ..admission.desk import Desk
from ..version import version
from .call import client_of
from .health import health_routes
from .key_value import key_value_routes
from .openapi import build_openapi
from .replies import error_response, json_response

logger = logging.getLogger(__name__)

# So many services are named where an address is wrong.
_NAMED = 5
# Reads files, so not on the event loop.
_VERSION = version()
# Of addresses that belong to no wire.
_CODEC = JsonCodec()


def build_http_app(desk: Desk, *, max_body_bytes: int) -> Starlette:
    """Return the application that gives requests to `desk`; larger bodies are refused."""
    pages = _Pages(desk)
    app = Starlette(
        middleware=[_cors(desk.cors_origins)] if desk.cors_origins else [],
        routes=[
            Route("/", pages.index),
            Route("/openapi.json", pages.openapi),
            *health_routes(desk.services),
            *key_value_routes(desk, max_body_bytes),
        ],
        exception_handlers={HTTPException: pages.routing_error, Exception: _unexpected_error},
    )
    # A redirect would lead to whatever address the Host header names.
    app.router.redirect_slashes = False
    return app


def _cors(origins: Sequence[str]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-Timeout"],
        expose_headers=["Retry-After"],
    )


class _Pages:
    """Pages that need no desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def index(self, _request: Request) -> Response:
        services = self._desk.services
        routes = [
            {"service": name, "post": f"/{name}/prediction", "state": services.state(name)}
            for name in services.names
        ]
        return json_response(json.dumps({"services": routes}).encode())

    async def openapi(self, _request: Request) -> Response:
        names, keys = self._desk.services.names, self._desk.keys.required
        return json_response(_openapi(tuple(names), keys))

    async def routing_error(self, request: Request, error: Exception) -> Response:
        """Report the router's own 404 and 405 in the key/value envelope."""
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        reported, allowed = _routing_failure(request, error, self._desk.services.names)
        self._desk.observer.refused(reported, client_of(request))
        response = error_response(reported, _CODEC.error(reported))
        if allowed:
            response.headers["Allow"] = allowed
        return response


@functools.lru_cache(maxsize=1)
def _openapi(names: tuple[str, ...], keys: bool) -> bytes:
    """Return the description of the services; it needs no key, so it is made once a reload."""
    return json.dumps(build_openapi(names, _VERSION, keys=keys)).encode()


def _routing_failure(
    request: Request, error: HTTPException, names: Sequence[str]
) -> tuple[ServingError, str]:
    """Return our error for the router's own, and the methods there are, where that is wrong."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "POST")
        text = f"{request.method} is not answered at this address; use {allowed}"
        if request.method == "POST":
            text += f"; images are posted to {_addresses(names)}"
        return MethodNotAllowed(text), allowed
    text = f"nothing is at {request.url.path[:80]!r}; post images to {_addresses(names)}"
    return ServiceNotFound(text), ""


def _addresses(names: Sequence[str]) -> str:
    """Return the addresses of the first services, for an error message."""
    more = ", ..." if len(names) > _NAMED else ""
    return ", ".join(f"/{name}/prediction" for name in names[:_NAMED]) + more


async def _unexpected_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(error, _CODEC.error(error))
