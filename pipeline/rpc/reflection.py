"""Reflection, with which tools as grpcurl learn the methods and messages of this port.

Where keys are set, it needs one. It knows the files of this port's own services only, so its reply
to a name of a few bytes has at most a few kilobytes.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from protocol.errors import ServingError, public_message, wire_codes
from protocol.key_value import pipeline_service_pb2

from ..admission.key_ring import KeyRing
from .call import headers_of
from .leaving import RunningCalls
from .small_calls import Calls, Messages, PlacesTaken

SERVICE_NAME: str = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
# Streams at once, and what one stream may send: tools send a few.
STREAMS, STREAMS_PER_CONNECTION = 64, 4
MOST_REQUESTS = 256
_FILES = (pipeline_service_pb2, health_pb2, reflection_pb2)
_Context = grpc.aio.ServicerContext[Any, Any]
_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class RpcReflection:
    """Describes the services `names`, to callers who have one of `keys`."""

    def __init__(
        self, names: tuple[str, ...], keys: KeyRing, calls: RunningCalls, messages: Messages
    ) -> None:
        self._descriptions = _Descriptions(names)
        self._keys = keys
        self._calls = calls
        self._messages = messages
        self._streams = Calls("reflection", STREAMS, STREAMS_PER_CONNECTION)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of the service's one method."""
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._reflect, request_deserializer=None, response_serializer=None
        )
        methods = {"ServerReflectionInfo": method}
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)

    async def _reflect(self, _messages: object, context: _Context) -> None:
        self._calls.add(context)
        headers = headers_of(context)
        try:
            self._keys.admit(headers.get("authorization"), headers.get("x-api-key"))
            with self._streams.place(context):
                await self._reply_to_each(context)
        except ServingError as error:
            code = grpc.StatusCode[wire_codes(error).grpc_status]
            await context.abort(code, public_message(error))
        except PlacesTaken as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def _reply_to_each(self, context: _Context) -> None:
        for _ in range(MOST_REQUESTS):
            message = await self._messages.next_of(context)
            if message is None:
                return
            try:
                request = _Request.FromString(message)
            except DecodeError:
                text = "the message is no ServerReflectionRequest"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            await context.write(self._descriptions.reply(request).SerializeToString())
        text = f"the stream has sent {MOST_REQUESTS} requests, the most that one may send"
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)


class _Descriptions:
    """The replies to requests about `names`, and the files that define them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = sorted(names)
        self._pool = DescriptorPool()
        for module in _FILES:
            self._pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

    def reply(self, request: _Request) -> _Response:
        """Return the reply to one request."""
        reply = _Response(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            services = [reflection_pb2.ServiceResponse(name=name) for name in self._names]
            reply.list_services_response.service.extend(services)
        elif kind is None:
            _fail(reply, grpc.StatusCode.INVALID_ARGUMENT)
        else:
            try:
                self._describe(kind, request, reply)
            except KeyError:
                _fail(reply, grpc.StatusCode.NOT_FOUND)
        return reply

    def _describe(self, kind: str, request: _Request, reply: _Response) -> None:
        """Add the files, or the numbers of extensions; KeyError where there is no such thing."""
        if kind == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            self._pool.FindMessageTypeByName(name)
            # Our files have no extension.
            reply.all_extension_numbers_response.base_type_name = name
            return
        if kind == "file_by_filename":
            file = self._pool.FindFileByName(request.file_by_filename)
        elif kind == "file_containing_symbol":
            file = self._pool.FindFileContainingSymbol(request.file_containing_symbol)
        else:
            raise KeyError(kind)
        # None of our files imports another.
        reply.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)


def _fail(reply: _Response, status: grpc.StatusCode) -> None:
    code, text = status.value
    reply.error_response.error_code = code
    reply.error_response.error_message = text
