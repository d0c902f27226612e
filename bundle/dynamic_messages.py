"""Protobuf message classes from a table in code: no generated file, no .proto compiler.

Generated code ties a file to one range of protobuf versions; these classes work from protobuf 3.20
(the official engine on Python 3.8) to the current one. They live in a pool of their own, so that
they never clash with paddle_serving_client or paddle registering messages of the same name.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES: Dict[str, int] = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
}


class Field(NamedTuple):
    """One field of a message: its number, its type (a scalar's name or a message's) and label."""

    number: int
    type: str
    repeated: bool = False


def build_messages(package: str, messages: Mapping[str, Mapping[str, Field]]) -> Mapping[str, Any]:
    """Build proto2 message classes.

    Args:
        package: the protobuf package of the messages.
        messages: message name -> field name -> field. A type that is no scalar names another
            message of this table.

    Returns:
        Message name -> class.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=package.replace(".", "/") + ".proto", package=package, syntax="proto2"
    )
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for field_name, field in fields.items():
            _add_field(message, package, field_name, field)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: _message_class(pool, package + "." + name) for name in messages}


def _add_field(
    message: descriptor_pb2.DescriptorProto, package: str, name: str, field: Field
) -> None:
    kind = descriptor_pb2.FieldDescriptorProto
    added = message.field.add(
        name=name,
        number=field.number,
        label=kind.LABEL_REPEATED if field.repeated else kind.LABEL_OPTIONAL,
        type=_TYPES.get(field.type, kind.TYPE_MESSAGE),
    )
    if field.type not in _TYPES:
        added.type_name = "." + package + "." + field.type


def _message_class(pool: descriptor_pool.DescriptorPool, full_name: str) -> Any:  # noqa: ANN401
    descriptor = pool.FindMessageTypeByName(full_name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf before 4.22, as the official engine needs it
    factory: Any = message_factory.MessageFactory(pool)
    return factory.GetPrototype(descriptor)
