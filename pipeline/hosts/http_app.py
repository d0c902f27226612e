"""HTTP, as an ASGI application: routes, bodies and statuses; every decision is made elsewhere.

POST /<service>/prediction   the key/value envelope, a raw picture, or a multipart upload;
                             the last two also with ?form=, answered as `protocol.forms` has it
GET  /health/live            200 while the process answers
GET  /health/ready           200 when every service can answer, 503 before and while stopping
GET  /                       what is served here
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.errors import (
    InvalidRequest,
    MethodNotAllowed,
    ServiceNotFound,
    ServingError,
    TooLarge,
    wire_codes,
)
from protocol.forms import check_form, reply_in_form
from protocol.reply import ClassifyReply, error_to_json, reply_to_json
from protocol.request import ClassifyRequest, request_from_images, request_from_json

from .services import Services

logger = logging.getLogger(__name__)

# nginx's number for "the client went away"; nobody is left to read it.
CLIENT_CLOSED_REQUEST = 499
# A body over the limit is read on and thrown away up to this factor, so that the client gets to
# read the answer instead of a reset connection.
DISCARD_FACTOR = 4
_RAW = ("application/octet-stream",)


def build_http_app(services: Services, *, max_body_bytes: int) -> Starlette:
    """Return the application that serves `services`; bodies over `max_body_bytes` are refused."""

    async def predict(request: Request) -> Response:
        service = request.path_params["service"]
        try:
            services.require(service)
            asked, form = await _read_request(request, service, max_body_bytes)
            reply = await _unless_disconnected(request, services.classify(asked))
        except ServingError as error:
            return error_response(error)
        return _json_response(reply_in_form(reply, form) if form else reply_to_json(reply), 200)

    async def live(_request: Request) -> Response:
        return _json_response(b'{"status": "alive"}', 200)

    async def ready(_request: Request) -> Response:
        states = {name: services.state(name) for name in services.names}
        status = "ready" if services.ready else services.phase
        if status == "ready" and not services.ready:
            status = "not ready"
        body = json.dumps({"status": status, "services": states}).encode()
        return _json_response(body, 200 if services.ready else 503)

    async def index(_request: Request) -> Response:
        routes = [
            {"service": name, "post": f"/{name}/prediction", "state": services.state(name)}
            for name in services.names
        ]
        return _json_response(json.dumps({"services": routes}).encode(), 200)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/{service}/{method}", predict, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _routing_error, Exception: _unexpected_error},
    )


def error_response(error: BaseException) -> Response:
    """Return the envelope of `error` with the HTTP status that tells the truth."""
    codes = wire_codes(error)
    headers = {"Retry-After": "1"} if codes.http_status in (429, 503) else None
    return _json_response(error_to_json(error), codes.http_status, headers)


def _json_response(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def _routing_error(request: Request, error: Exception) -> Response:
    """Put the router's own 404 and 405 into the envelope."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "POST")
        response = error_response(
            MethodNotAllowed(f"{request.method} is not answered at this address; use {allowed}")
        )
        response.headers["Allow"] = allowed
        return response
    return error_response(
        ServiceNotFound(f"nothing is at {request.url.path[:80]!r}; post to /<service>/prediction")
    )


async def _unexpected_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(error)


# --- bodies --------------------------------------------------------------------------------------


async def _read_request(
    request: Request, service: str, max_body_bytes: int
) -> tuple[ClassifyRequest, str | None]:
    """Read the body in the form its Content-Type names; without one it is the JSON envelope.

    Returns:
        The request, and the form its answer is to have; None is the envelope.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _read_multipart(request, service, max_body_bytes)
    body = await _read_body(request, max_body_bytes)
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
    return request_from_json(body, service), None


def _shown(content_type: str) -> str:
    return f"Content-Type {content_type[:40]}" if content_type else "a body without Content-Type"


async def _read_body(request: Request, max_body_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else 0
    chunks: list[bytes] = []
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if max(received, size) <= max_body_bytes:
            chunks.append(chunk)
            continue
        chunks.clear()
        if max(received, size) > DISCARD_FACTOR * max_body_bytes:
            break
    if max(received, size) > max_body_bytes:
        raise TooLarge(f"the body is over the limit of {max_body_bytes / 2**20:g} MiB")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _read_multipart(
    request: Request, service: str, max_body_bytes: int
) -> tuple[ClassifyRequest, str | None]:
    """Take every file of the form as one picture, in order; other fields are options."""
    # The form parser spools to disk; the size is bounded first, by reading the body ourselves.
    body = await _read_body(request, max_body_bytes)
    form_request = Request(request.scope, receive=_replay(body))
    try:
        async with form_request.form() as form:
            images = [
                await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)
            ]
            fields = {name: part for name, part in form.multi_items() if isinstance(part, str)}
    except (HTTPException, MultiPartException, FormParserError, KeyError) as error:
        detail = getattr(error, "detail", None) or getattr(error, "message", None) or str(error)
        raise InvalidRequest(f"the multipart form cannot be read: {detail}") from error
    options = {**_query_options(request), **_known_options(fields)}
    answer_form = _known_form({**request.query_params, **fields})
    return request_from_images(images, service, **options), answer_form


def _replay(body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _query_options(request: Request) -> dict[str, Any]:
    return _known_options(request.query_params)


def _known_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {"topk": "topk", "threshold": "threshold", "logid": "log_id", "log_id": "log_id"}
    return {option: fields[name] for name, option in names.items() if name in fields}


def _known_form(fields: Mapping[str, Any]) -> str | None:
    form = fields.get("form")
    return None if form is None else check_form(form)


async def _unless_disconnected(request: Request, answer: Awaitable[ClassifyReply]) -> ClassifyReply:
    """Await `answer`, but cancel it when the client goes away: nobody would read it."""
    running = asyncio.ensure_future(answer)
    # The body has been read whole, so the next message can only be the disconnect.
    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(lambda _: running.cancel())
    try:
        return await running
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise HTTPException(CLIENT_CLOSED_REQUEST) from None
        raise
    finally:
        gone.cancel()
