"""A server with the bounds of connections, on a real socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from pipeline.web.server import serve_app
from protocol.key_value.reply import error_to_json
from tests.pipeline.web.raw_http import Server, request


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> Server:
            server = Server(stack.aclose)
            app = Starlette(routes=[Route("/", server.reply, methods=["GET", "POST"])])
            listening = socket.create_server(("127.0.0.1", 0))
            server.port = listening.getsockname()[1]
            await serve_app(stack, app, [listening], error_body=error_to_json, **options)
            # uvicorn's task begins to accept.
            await request(*await server.open())
            return server

        yield start
