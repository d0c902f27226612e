"""PipelineService.inference of Paddle Serving 0.9, bound to the desk.

An error stands in the Response's err_no; the status of the call is OK.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import grpc
import grpc.aio

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.codec import ProtoCodec

from ..admission.desk import Desk
from .arriving import Arriving
from .call import reply_to
from .leaving import RunningCalls

_SERVICE = pb.DESCRIPTOR.services_by_name["PipelineService"]
SERVICE_NAME: str = _SERVICE.full_name


def key_value_handler(
    desk: Desk, max_message_bytes: int, calls: RunningCalls, arriving: Arriving
) -> grpc.GenericRpcHandler:
    """Return the handler of the service's one method.

    Its calls are counted in `calls`, and what comes of their messages in `arriving`.
    """
    codec = ProtoCodec()

    async def inference(_messages: object, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        calls.add(context)
        # From its headers on: a stop waits for a message that arrives, or ends the call with an
        # error of ours.
        task = asyncio.current_task()
        desk.running.begin(task, functools.partial(_cancel, task))
        try:
            return (await reply_to(desk, codec, context, max_message_bytes, arriving)).body
        finally:
            desk.running.end(task)

    # As bytes on both ends: the codec reads and writes, where it is observed.
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(
        inference, request_deserializer=None, response_serializer=None
    )
    return grpc.method_handlers_generic_handler(SERVICE_NAME, {"inference": method})


def _cancel(task: asyncio.Task[Any] | None) -> None:
    assert task is not None  # noqa: S101 - gRPC runs each call in a task
    task.cancel()
