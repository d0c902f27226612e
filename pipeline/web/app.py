"""HTTP, as an ASGI application: routes, bodies and statuses; every decision is made elsewhere.

POST /<service>/prediction   the key/value envelope, a raw picture, or a multipart upload;
                             the last two also with ?form=, answered as `protocol.forms` has it
GET  /health/live            200 while the process answers
GET  /health/ready           200 when every service can answer, 503 before and while stopping
GET  /                       what is served here
GET  /openapi.json           all of this for programs
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ServiceNotFound,
    ServingError,
    wire_codes,
)
from protocol.forms import check_form, reply_in_form
from protocol.key_value.reply import error_to_json, reply_to_json
from protocol.key_value.request import request_from_images, request_from_json
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

from ..admission.deadline import TIMEOUT_HEADER, Deadline
from ..admission.inflight import Inflight
from ..admission.key_ring import KeyRing
from ..admission.offload import parsed
from ..admission.services import Services, written
from ..observation.observer import Observer
from ..version import version
from .bodies import CLIENT_CLOSED_REQUEST, BodyReader
from .health import health_routes
from .multipart import read_multipart
from .openapi import build_openapi
from .origins import check_origin

logger = logging.getLogger(__name__)

_RAW = ("application/octet-stream",)


def build_http_app(
    services: Services,
    observer: Observer,
    *,
    max_body_bytes: int,
    inflight: Inflight | None = None,
    keys: KeyRing | None = None,
    cors_origins: Sequence[str] = (),
) -> Starlette:
    """Return the application that serves `services` to those who have one of `keys`.

    Bodies over `max_body_bytes` are refused, and those that find no room in `inflight`.
    Pages of `cors_origins` may ask from a browser.
    """
    keys = keys or KeyRing()
    bodies = BodyReader(max_body_bytes)
    budget = inflight or Inflight(max_body_bytes)

    async def predict(request: Request) -> Response:
        client = request.client.host if request.client is not None else "?"
        headers = request.headers
        with (
            observer.request("http", client, headers.get("traceparent")) as seen,
            budget.reservation() as reserved,
        ):
            try:
                # Before anything is read of the body: who may not ask costs next to nothing.
                check_origin(headers, cors_origins)
                caller = keys.admit(headers.get("authorization"), headers.get("x-api-key"))
                deadline = Deadline(headers.get(TIMEOUT_HEADER))
                service = services.require(request.path_params["service"])
                seen.found(service)
                body = await deadline.within(bodies.read(request, reserved))
                if not body.isascii() and _is_text(headers.get("content-type", "")):
                    reserved.add(3 * len(body))  # as text it takes up to four bytes a character
                # Raw pictures are taken as they are.
                size = len(body) if _is_parsed(headers.get("content-type", "")) else 0
                asked, form = await parsed(size, _read_request, request, service, body)
                del body
                seen.asked(asked)
                keys.spend(caller, len(asked.images))
                answer = services.classify(asked, deadline.remaining_s())
                reply = await _unless_disconnected(request, answer)
                written_in = functools.partial(reply_in_form, form=form) if form else reply_to_json
                content = written(reply, written_in)
            except ServingError as error:
                seen.failed(error)
                return error_response(error)
        return _json_response(content, 200)

    async def routing_error(request: Request, error: Exception) -> Response:
        """Put the router's own 404 and 405 into the envelope."""
        if not isinstance(error, HTTPException) or error.status_code == CLIENT_CLOSED_REQUEST:
            return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody reads it
        told, allowed = _routing_failure(request, error)
        observer.refused(told, request.client.host if request.client is not None else "?")
        response = error_response(told)
        if allowed:
            response.headers["Allow"] = allowed
        return response

    async def index(_request: Request) -> Response:
        routes = [
            {"service": name, "post": f"/{name}/prediction", "state": services.state(name)}
            for name in services.names
        ]
        return _json_response(json.dumps({"services": routes}).encode(), 200)

    async def openapi(_request: Request) -> Response:
        document = build_openapi(services.names, version(), keys=keys.required)
        return _json_response(json.dumps(document).encode(), 200)

    app = Starlette(
        middleware=[_cors(cors_origins)] if cors_origins else [],
        routes=[
            Route("/", index),
            Route("/openapi.json", openapi),
            *health_routes(services),
            Route("/{service}/{method}", predict, methods=["POST"]),
        ],
        exception_handlers={HTTPException: routing_error, Exception: _unexpected_error},
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


def error_response(error: BaseException) -> Response:
    """Return the envelope of `error` with the HTTP status that tells the truth."""
    codes = wire_codes(error)
    headers = {}
    if codes.http_status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "retry_after_s", 1))))
    elif codes.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _json_response(error_to_json(error), codes.http_status, headers)


def _json_response(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _routing_failure(request: Request, error: HTTPException) -> tuple[ServingError, str]:
    """Return our error for the router's own, and the methods there are, where that is wrong."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "POST")
        text = f"{request.method} is not answered at this address; use {allowed}"
        return MethodNotAllowed(text), allowed
    text = f"nothing is at {request.url.path[:80]!r}; post to /<service>/prediction"
    return ServiceNotFound(text), ""


async def _unexpected_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(error)


# --- bodies --------------------------------------------------------------------------------------


def _read_request(
    request: Request, service: str, body: bytes
) -> tuple[ClassifyRequest, str | None]:
    """Understand the body in the form its Content-Type names; without one it is the JSON envelope.

    Returns:
        The request, and the form its answer is to have; None is the envelope.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        images, fields = read_multipart(body, request.headers["content-type"])
        options = {**_query_options(request), **_known_options(fields)}
        form = _known_form({**request.query_params, **fields})
        return request_from_images(images, service, **options), form
    if content_type in _RAW or content_type.startswith("image/"):
        if not body:
            raise InvalidRequest("the body is empty; send the bytes of one picture")
        form = _known_form(request.query_params)
        return request_from_images([body], service, **_query_options(request)), form
    if "form" in request.query_params:
        raise InvalidRequest(
            "form goes with a multipart upload, or a picture as the body with its Content-Type, "
            f"image/jpeg for one; {_shown(content_type)} is the key/value envelope: leave form out"
        )
    return request_from_json(body, service, **_query_options(request)), None


def _shown(content_type: str) -> str:
    return f"Content-Type {content_type[:40]}" if content_type else "a body without Content-Type"


def _is_parsed(content_type: str) -> bool:
    """Whether a body of that type is more than the bytes of one picture."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind not in _RAW and not kind.startswith("image/")


def _is_text(content_type: str) -> bool:
    """Whether a body of that type is read as JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return _is_parsed(content_type) and kind != "multipart/form-data"


def _query_options(request: Request) -> dict[str, Any]:
    return _known_options(request.query_params)


def _known_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {"topk": "topk", "threshold": "threshold", "logid": "log_id", "log_id": "log_id"}
    return {option: fields[name] for name, option in names.items() if name in fields}


def _known_form(fields: Mapping[str, Any]) -> str | None:
    form = fields.get("form")
    return None if form is None else check_form(form)


def _cancel(running: asyncio.Future[ClassifyReply], _gone: object) -> None:
    running.cancel()


async def _unless_disconnected(request: Request, answer: Awaitable[ClassifyReply]) -> ClassifyReply:
    """Await `answer`, but cancel it when the client goes away: nobody would read it."""
    running = asyncio.ensure_future(answer)
    # The body has been read whole, so the next message can only be the disconnect.
    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(functools.partial(_cancel, running))
    try:
        return await running
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise HTTPException(CLIENT_CLOSED_REQUEST) from None
        raise
    finally:
        gone.cancel()
        # The error that `running` ended with leads back to this frame: see `Observation`.
        del running, gone, answer
