"""POST /<service>/prediction: Paddle Serving 0.9's route, bound to the desk.

`protocol.bodies` says which codec reads a body: a raw image, an upload, a form, or the envelope.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.bodies import BodyCodec

from ..admission.desk import Desk
from .call import HttpCall
from .replies import reply_to


def key_value_routes(desk: Desk, max_body_bytes: int) -> list[Route]:
    """Return the route; bodies over `max_body_bytes` are refused."""

    async def predict(request: Request) -> Response:
        call = HttpCall(request, request.path_params["service"], max_body_bytes)
        return await reply_to(desk, call, BodyCodec(call.content_type))

    return [Route("/{service}/{method}", predict, methods=["POST"])]
