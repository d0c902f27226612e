"""Why a model cannot be served: by the signature of its graph, and runtime by runtime."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.formats import GraphFormat
from bundle.model_config import ModelConfig
from pipeline.predictors.registry import release_notes
from pipeline.predictors.servable import feed_hindrance, fetch_hindrance

from ..errors import ConversionError
from ..reading.exported_model import ExportedModel
from ..reading.graph import Graph, GraphTensor


def served_by(
    export: ExportedModel, config: ModelConfig, made: Sequence[GraphFormat] = ()
) -> dict[str, str]:
    """Release of a runtime -> why it cannot serve the model; "" where it can.

    `made`: the formats of the bundle's other forms.
    """
    hindrance = signature_hindrance(export.graph, config)
    aliased = not hindrance and config.feeds[0].alias != config.feeds[0].name
    notes = release_notes((export.graph_format, *made), feed_alias=aliased)
    return {release: note or hindrance for release, note in notes.items()}


def check_servable(export: ExportedModel, config: ModelConfig) -> None:
    """Check that a runtime can serve the model.

    Raises:
        ConversionError: none can.
    """
    hindrance = signature_hindrance(export.graph, config)
    if hindrance:
        raise ConversionError(
            f"{export.model_file}: nothing can serve this model: {hindrance}; export a classifier"
            " of images: one input, one row of scores an image"
        )


def signature_hindrance(graph: Graph, config: ModelConfig) -> str:
    """Why a classifier of images cannot be made of the graph; "" if it can."""
    fetch = config.fetches[config.answering]
    return (
        feed_hindrance(config)
        or fetch_hindrance(fetch)
        or _feed_shape(graph.feeds[0])
        or _batch(graph, graph.fetches[config.answering])
    )


def _feed_shape(feed: GraphTensor) -> str:
    rank = len(feed.shape)
    # [N, H, W] is of grey images, [3, H, W] and [H, W, 3] are of one image
    one_image = rank == 3 and (feed.shape[0] in (3, 4) or feed.shape[2] in (3, 4))
    if rank == 4 or (rank == 3 and not one_image):
        return ""
    return (
        f"its input {feed.name!r} takes {_dims(feed)}, and images are [N, C, H, W] or [N, H, W, C]"
        f"{': the batch is missing' if one_image else ''}"
    )


def _batch(graph: Graph, fetch: GraphTensor) -> str:
    """Why rows of scores cannot be assigned to the images of a fixed batch."""
    batch = graph.fixed_batch
    if batch is None or (len(fetch.shape) > 1 and fetch.shape[0] in (-1, batch)):
        return ""
    return (
        f"it takes {batch} images a run, and its output {fetch.name!r} is {_dims(fetch)}, not a row"
        " of scores for each"
    )


def _dims(tensor: GraphTensor) -> str:
    return f"[{', '.join('any' if dim == -1 else str(dim) for dim in tensor.shape)}]"
