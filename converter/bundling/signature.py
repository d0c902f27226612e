"""Feeds and fetches as a bundle has them, and which fetch is answered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bundle.model_config import (
    DTYPE_CODES,
    PREDICTION,
    SCORE_DTYPES,
    ModelConfig,
    TensorSpec,
    read_model_config,
)

from ..errors import ConversionError
from ..reading.activation import SORTED
from ..reading.exported_model import ExportedModel
from ..reading.graph import Graph, GraphTensor

_LARGEST_DIMENSION = 2**31 - 1  # what a prototxt holds


class NoAnswerError(ConversionError):
    """No output holds scores, or several may."""


def signature(
    export: ExportedModel,
    feed_aliases: Sequence[str] | None = None,
    fetch_aliases: Sequence[str] | None = None,
) -> ModelConfig:
    """Feeds and fetches as the graph has them, whichever of them is answered from.

    Aliases that are not given are those of a serving_server_conf.prototxt beside the model (clients
    of a bundle made by 0.9 know them), else the real names.

    Raises:
        ConversionError: the number of aliases is not that of the tensors, or one is given twice.
    """
    graph = export.graph
    known_feeds, known_fetches = _known_aliases(export)
    if feed_aliases is None:
        feed_aliases = [known_feeds.get(tensor.name, tensor.name) for tensor in graph.feeds]
    if fetch_aliases is None:
        fetch_aliases = [known_fetches.get(tensor.name, tensor.name) for tensor in graph.fetches]
    return ModelConfig(
        feeds=_specs(graph.feeds, feed_aliases, "feed"),
        fetches=_specs(graph.fetches, fetch_aliases, "fetch"),
    )


def model_config(
    export: ExportedModel,
    feed_aliases: Sequence[str] | None = None,
    fetch_aliases: Sequence[str] | None = None,
    *,
    labels: int | None = None,
) -> ModelConfig:
    """Feeds and fetches as `signature`, the fetch that is answered from called "prediction".

    It is the one that is called so already, else the only one that can hold scores, else the only
    one that ends in a softmax or sigmoid, else the only one with a class a label.

    Args:
        export: the model.
        feed_aliases: one a feed, or None.
        fetch_aliases: one a fetch, or None. If none is "prediction", the bundle's readers answer
            from the first that can hold scores, so that must be the right one.
        labels: how many labels there are; None if that is not known.

    Raises:
        NoAnswerError: no output holds scores, or several may.
        ConversionError: as `signature`.
    """
    check_scores(export)
    config = signature(export, feed_aliases, fetch_aliases)
    if PREDICTION in [fetch.alias for fetch in config.fetches]:
        _check_prediction(export, config)
        return config
    answering = _answering(export.graph, config, labels)
    known = _known_aliases(export)[1]
    if fetch_aliases is None and config.fetches[answering].name not in known:
        fetches = list(config.fetches)
        fetches[answering] = replace(fetches[answering], alias=PREDICTION)
        return replace(config, fetches=tuple(fetches))
    if config.answering != answering:
        first, right = config.fetches[config.answering], config.fetches[answering]
        raise NoAnswerError(
            f"{export.model_file}: answers would be made from {first.name!r} and not from"
            f" {right.name!r}, for no output is called {PREDICTION};"
            f" {_way_out(config, [answering])}"
        )
    return config


def _check_prediction(export: ExportedModel, config: ModelConfig) -> None:
    """Check that the fetch called "prediction" can hold scores."""
    named = config.fetches[config.answering]
    if named.dtype not in SCORE_DTYPES:
        raise NoAnswerError(
            f"{export.model_file}: the output {named.name!r}, called {PREDICTION}, is"
            f" {named.dtype} and holds no scores; {_way_out(config, _scores(config))}"
        )
    if export.graph.activations[config.answering] == SORTED:
        raise _sorted(export, named.name)


def _sorted(export: ExportedModel, name: str) -> NoAnswerError:
    return NoAnswerError(
        f"{export.model_file}: the output {name!r} is sorted by size (as of a topk), so that the"
        " places of its scores are no classes; export the model with the softmax or the logits"
        " before it as its output"
    )


def check_scores(export: ExportedModel) -> None:
    """Check that an output can hold scores.

    Raises:
        NoAnswerError: none can: they are class numbers, most likely, or sorted.
    """
    fetches, activations = export.graph.fetches, export.graph.activations
    scores = [i for i, fetch in enumerate(fetches) if fetch.dtype in SCORE_DTYPES]
    if scores and all(activations[i] == SORTED for i in scores):
        raise _sorted(export, fetches[scores[0]].name)
    if not scores:
        raise NoAnswerError(
            f"{export.model_file}: gives {', '.join(map(_shown, fetches))} and no scores"
            f" ({', '.join(SCORE_DTYPES)}): class numbers, as of an argmax? Export the model with"
            " the softmax or the logits before it as its output"
        )


def answering_scores(config: ModelConfig) -> bool:
    """Whether the fetch that a bundle answers from can hold scores."""
    return config.fetches[config.answering].dtype in SCORE_DTYPES


def _answering(graph: Graph, config: ModelConfig, labels: int | None) -> int:
    """The position of the only fetch that may be meant.

    Raises:
        NoAnswerError: several may be.
    """
    scores = [i for i in _tensors_before_maps(graph, config) if graph.activations[i] != SORTED]
    ended = [i for i in scores if graph.activations[i] != "none"]
    likely = ended or scores
    counts = {i: config.fetches[i].classes for i in likely}
    exact = [i for i in likely if counts[i] == labels]
    possible = [i for i in likely if counts[i] in (labels, -1)]
    for found in (scores, ended, exact, possible):
        if len(found) == 1:
            return found[0]
    listed = ", ".join(_shown(graph.fetches[i]) for i in likely)
    raise NoAnswerError(
        f"{len(likely)} outputs may hold the scores: {listed}; {_way_out(config, likely)}"
    )


def _scores(config: ModelConfig) -> list[int]:
    return [i for i, fetch in enumerate(config.fetches) if fetch.dtype in SCORE_DTYPES]


def _tensors_before_maps(graph: Graph, config: ModelConfig) -> list[int]:
    """The fetches that may hold scores: where a map and a tensor may, it is the tensor."""
    scores = _scores(config)
    if graph.labels is None:
        return scores
    tensors = [i for i in scores if not graph.fetches[i].classes]
    return [i for i in tensors if config.fetches[i].classes in (-1, len(graph.labels))] or [
        i for i in scores if graph.fetches[i].classes
    ]


def _way_out(config: ModelConfig, may_answer: Sequence[int]) -> str:
    names = [fetch.alias if fetch.alias != PREDICTION else "other" for fetch in config.fetches]
    names[may_answer[0]] = PREDICTION
    return (
        f"call the one that answers {PREDICTION} with --fetch-alias, such as"
        f" --fetch-alias {','.join(names)}"
    )


def _shown(tensor: GraphTensor) -> str:
    dims = ", ".join("N" if dim == -1 else str(dim) for dim in tensor.shape)
    return f"{tensor.name!r} ({tensor.dtype} [{dims}])"


def _known_aliases(export: ExportedModel) -> tuple[Mapping[str, str], Mapping[str, str]]:
    conf = export.folder / "serving_server_conf.prototxt"
    if not conf.is_file():
        return {}, {}
    known = read_model_config(conf)
    return {f.name: f.alias for f in known.feeds}, {f.name: f.alias for f in known.fetches}


def _specs(
    tensors: Sequence[GraphTensor], aliases: Sequence[str], side: str
) -> tuple[TensorSpec, ...]:
    names = [tensor.name for tensor in tensors]
    if len(aliases) != len(names):
        raise ConversionError(
            f"--{side}-alias: {len(aliases)} given, the model has {len(names)}: {', '.join(names)}"
        )
    twice = sorted({alias for alias in aliases if aliases.count(alias) > 1})
    if not all(aliases) or twice:
        what = f"{twice[0]!r} is given twice" if twice else "one is empty"
        raise ConversionError(f"--{side}-alias: {what}; give {len(names)} different names")
    for alias in aliases:
        if not alias.isprintable():  # bytes of a terminal that are no text among them
            raise ConversionError(f"--{side}-alias: {alias!r} is no name; give letters and digits")
    for tensor in tensors:
        if tensor.dtype not in DTYPE_CODES:
            raise ConversionError(
                f"{side} {tensor.name!r} is {tensor.dtype}, which cannot be served"
            )
        if any(dim > _LARGEST_DIMENSION for dim in tensor.shape):
            raise ConversionError(
                f"{side} {tensor.name!r} is {list(tensor.shape)}, which no memory holds; export the"
                " model again"
            )
    # What is a LoD tensor has no batch dimension; -1 is what 0.9 writes for it.
    return tuple(
        TensorSpec(
            name=tensor.name,
            alias=alias,
            dtype=tensor.dtype,
            shape=(-1,) if tensor.is_lod else tensor.shape[1:],
            is_lod=tensor.is_lod,
        )
        for tensor, alias in zip(tensors, aliases, strict=True)
    )
