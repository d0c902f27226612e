"""RPC: PipelineService.inference of Paddle Serving 0.9; errors stand in the Response's err_no."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import grpc.aio

from protocol import pipeline_service_pb2 as pb
from protocol import pipeline_service_pb2_grpc as pb_grpc
from protocol.errors import ServingError
from protocol.reply import error_to_proto, reply_to_proto
from protocol.request import request_from_proto

from .services import Services

logger = logging.getLogger(__name__)


class RpcServicer(pb_grpc.PipelineServiceServicer):
    """Translates Request and Response; a deadline of the caller is kept, a cancelled call too."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def inference(
        self, request: pb.Request, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.Response:
        """Answer one request; never raises for what is wrong with it."""
        try:
            self._services.require(request.name)
            asked = request_from_proto(request)
            reply = await self._services.classify(asked, context.time_remaining())
        except ServingError as error:
            return error_to_proto(error)
        except Exception as error:
            logger.error("inference failed", exc_info=error)
            return error_to_proto(error)
        return reply_to_proto(reply)


def build_rpc_server(services: Services, *, max_body_bytes: int) -> grpc.aio.Server:
    """Return a server without a port; messages over `max_body_bytes` end in RESOURCE_EXHAUSTED."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # Two services on one port would share its requests by chance; refuse instead.
            ("grpc.so_reuseport", 0),
        ]
    )
    pb_grpc.add_PipelineServiceServicer_to_server(RpcServicer(services), server)  # type: ignore[no-untyped-call]
    return server
