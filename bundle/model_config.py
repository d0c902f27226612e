"""serving_{server,client}_conf.prototxt and .stream.prototxt: a model's feeds and fetches.

The message is Paddle Serving 0.9's GeneralModelConfig (core/configure/proto). Its descriptor is
built here instead of being generated, so that it works with every protobuf from 3.20 on: the same
file serves Python 3.8 with the official engine and Python 3.13 with ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Tuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from .errors import BundleError

# feed_type and fetch_type of 0.9, by numpy's names.
DTYPE_CODES = {
    "int64": 0,
    "float32": 1,
    "int32": 2,
    "float64": 3,
    "int16": 4,
    "float16": 5,
    "bfloat16": 6,
    "uint8": 7,
    "int8": 8,
    "bool": 9,
    "string": 20,
}
_DTYPE_NAMES = {code: name for name, code in DTYPE_CODES.items()}


@dataclass(frozen=True)
class TensorSpec:
    """One feed or fetch.

    `name` is the graph's, `alias` what clients say; `shape` leaves out the batch and has -1 where
    a dimension is open; `dtype` is numpy's name (or "bfloat16", "string").
    """

    name: str
    alias: str
    dtype: str
    shape: Tuple[int, ...]
    is_lod: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Feeds and fetches in the order of the graph."""

    feeds: Tuple[TensorSpec, ...]
    fetches: Tuple[TensorSpec, ...]


def read_model_config(path: Path) -> ModelConfig:
    """Read a `.prototxt` or a `.stream.prototxt`.

    Raises:
        BundleError: the file is missing or is not such a message.
    """
    message = _MESSAGE()
    try:
        if path.name.endswith(".stream.prototxt"):
            message.ParseFromString(path.read_bytes())
        else:
            text_format.Parse(path.read_text(encoding="utf-8"), message)
    except OSError as error:
        raise BundleError("cannot read {}: {}".format(path, error.strerror)) from error
    except (text_format.ParseError, DecodeError, UnicodeDecodeError) as error:
        raise BundleError(
            "{} is not a serving configuration ({}); convert the model again".format(path, error)
        ) from error
    return ModelConfig(
        feeds=tuple(_spec(var, var.feed_type, path) for var in message.feed_var),
        fetches=tuple(_spec(var, var.fetch_type, path) for var in message.fetch_var),
    )


def to_prototxt(config: ModelConfig) -> str:
    """Return the text form, as 0.9's converter writes it."""
    return str(text_format.MessageToString(_message(config)))


def to_stream(config: ModelConfig) -> bytes:
    """Return the binary form."""
    return bytes(_message(config).SerializeToString(deterministic=True))


def write_model_config(config: ModelConfig, folder: Path, stem: str) -> None:
    """Write `stem`.prototxt and `stem`.stream.prototxt into `folder`."""
    (folder / (stem + ".prototxt")).write_text(to_prototxt(config), encoding="utf-8")
    (folder / (stem + ".stream.prototxt")).write_bytes(to_stream(config))


def _spec(var: Any, code: int, path: Path) -> TensorSpec:  # noqa: ANN401 - a built message
    if code not in _DTYPE_NAMES:
        raise BundleError("{}: {} has the unknown type {}".format(path, var.name, code))
    return TensorSpec(
        name=var.name,
        alias=var.alias_name or var.name,
        dtype=_DTYPE_NAMES[code],
        shape=tuple(var.shape),
        is_lod=var.is_lod_tensor,
    )


def _message(config: ModelConfig) -> Any:  # noqa: ANN401 - a built message
    message = _MESSAGE()
    for spec in config.feeds:
        _fill(message.feed_var.add(feed_type=DTYPE_CODES[spec.dtype]), spec)
    for spec in config.fetches:
        _fill(message.fetch_var.add(fetch_type=DTYPE_CODES[spec.dtype]), spec)
    return message


def _fill(var: Any, spec: TensorSpec) -> None:  # noqa: ANN401 - a built message
    var.name, var.alias_name = spec.name, spec.alias
    # Set even when false: 0.9's files hold it, and bytes are to be equal.
    var.is_lod_tensor = spec.is_lod
    var.shape.extend(spec.shape)


def _message_class() -> Any:  # noqa: ANN401 - a built class
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="bundle/general_model_config.proto",
        # Not 0.9's own package name: its generated module may be loaded beside ours.
        package="paddle_serving_kit.configure",
        syntax="proto2",
    )
    for message, kind in (("FeedVar", "feed_type"), ("FetchVar", "fetch_type")):
        entry = file.message_type.add(name=message)
        optional, repeated = field.LABEL_OPTIONAL, field.LABEL_REPEATED
        entry.field.add(name="name", number=1, type=field.TYPE_STRING, label=optional)
        entry.field.add(name="alias_name", number=2, type=field.TYPE_STRING, label=optional)
        entry.field.add(
            name="is_lod_tensor",
            number=3,
            type=field.TYPE_BOOL,
            label=optional,
            default_value="false",
        )
        entry.field.add(
            name=kind, number=4, type=field.TYPE_INT32, label=optional, default_value="0"
        )
        entry.field.add(name="shape", number=5, type=field.TYPE_INT32, label=repeated)
    whole = file.message_type.add(name="GeneralModelConfig")
    for number, (name, kind) in enumerate((("feed_var", "FeedVar"), ("fetch_var", "FetchVar")), 1):
        whole.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            label=field.LABEL_REPEATED,
            type_name=".paddle_serving_kit.configure." + kind,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("paddle_serving_kit.configure.GeneralModelConfig")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    older: Any = message_factory  # protobuf 3.20
    return older.MessageFactory(pool).GetPrototype(descriptor)


_MESSAGE = _message_class()
