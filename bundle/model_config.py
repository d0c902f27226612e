"""serving_{server,client}_conf.prototxt and .stream.prototxt: a model's feeds and fetches.

The message is Paddle Serving 0.9's GeneralModelConfig (general_model_config.proto), built in
code: see dynamic_messages.

0.9's converter leaves out every dimension below zero, so that [-1, 3, -1, -1] becomes `shape: 3`,
of rank 1. We leave out the batch only and write the others as -1, in their place. 0.9 uses these
numbers in one spot, to reshape a feed that arrives as a plain list, and there one -1 works where a
missing dimension fails; numpy arrays, as every image service feeds them, are never compared with
them. What 0.9 wrote is read as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Tuple

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from .dynamic_messages import Field, build_messages
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
    "complex64": 10,
    "complex128": 11,
    "string": 20,
}
# What scores come in; class numbers among a model's outputs are no answer.
SCORE_DTYPES = ("float32", "float16", "float64")
# The alias of the fetch that is answered from.
PREDICTION = "prediction"
# A feed or fetch takes a hundred bytes.
_MAX_BYTES = 256 << 10
_MAX_RANK = 64  # numpy's own
_DTYPE_NAMES = {code: name for name, code in DTYPE_CODES.items()}


def _variable(type_field: str) -> Dict[str, Field]:
    return {
        "name": Field(1, "string"),
        "alias_name": Field(2, "string"),
        "is_lod_tensor": Field(3, "bool"),
        type_field: Field(4, "int32"),
        "shape": Field(5, "int32", repeated=True),
    }


_MESSAGE = build_messages(
    "baidu.paddle_serving.configure",
    {
        "FeedVar": _variable("feed_type"),
        "FetchVar": _variable("fetch_type"),
        "GeneralModelConfig": {
            "feed_var": Field(1, "FeedVar", repeated=True),
            "fetch_var": Field(2, "FetchVar", repeated=True),
        },
    },
)["GeneralModelConfig"]


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

    @property
    def classes(self) -> int:
        """The number of classes of a fetch, or -1 where the graph leaves it open."""
        if not self.shape or self.is_lod or min(self.shape) < 0:
            return -1
        count = 1  # of all dimensions: some networks leave [classes, 1, 1]
        for dim in self.shape:
            count *= dim
        return count


@dataclass(frozen=True)
class ModelConfig:
    """Feeds and fetches in the order of the graph."""

    feeds: Tuple[TensorSpec, ...]
    fetches: Tuple[TensorSpec, ...]

    @property
    def answering(self) -> int:
        """The position of the fetch that is answered from.

        It is the one called prediction (our converter calls one so), else the first that can hold
        scores, else the first.
        """
        aliases = [fetch.alias for fetch in self.fetches]
        if PREDICTION in aliases:
            return aliases.index(PREDICTION)
        dtypes = [fetch.dtype in SCORE_DTYPES for fetch in self.fetches]
        return dtypes.index(True) if True in dtypes else 0

    @property
    def classes(self) -> int:
        """The number of classes of that fetch, or -1 where the graph leaves it open."""
        return self.fetches[self.answering].classes


def read_model_config(path: Path) -> ModelConfig:
    """Read a `.prototxt` or a `.stream.prototxt`.

    Raises:
        BundleError: the file is missing, too large, or is not such a message.
    """
    message = _MESSAGE()
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise BundleError(
                "{} is larger than {} KiB, so it describes no model; convert the model "
                "again".format(path, _MAX_BYTES >> 10)
            )
        if path.name.endswith(".stream.prototxt"):
            message.ParseFromString(content)
        else:
            text_format.Parse(content.decode("utf-8"), message)
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
    if len(var.shape) > _MAX_RANK:
        raise BundleError(
            "{}: {} has {} dimensions; convert the model again".format(
                path, var.name, len(var.shape)
            )
        )
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
