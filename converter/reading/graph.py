"""Graph: what a converter must know of a model, whatever format it is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class GraphTensor:
    """An input, an output or a parameter.

    Attributes:
        name: its name in the graph.
        dtype: numpy's name of its element type, or "bfloat16".
        shape: all its dimensions, the batch included; -1 is dynamic.
        is_lod: it is a LoD tensor (sequences of several lengths).
        classes: it is a map from each of these classes to its score, one an image; `shape` is that
            of the scores in this order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_lod: bool = False
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Inputs, outputs and parameters of a model.

    Attributes:
        feeds: inputs, in the model's order.
        fetches: outputs, in the model's order.
        parameters: sorted by name, which is their order in a combined parameter file.
        activations: what gives each output: "softmax", "sigmoid", "log_softmax", "log_sigmoid",
            "sorted" (no scores of classes), or "none" (logits, as far as can be seen).
        written_by: what the file says of its writer: a version of Paddle or of PyTorch, a format.
        white: what white is for its input, as its first arithmetic or its metadata says: 255, or 1;
            None is not known.
        takes_bgr: its metadata says that its input is BGR; False is not known.
        left_out: outputs that are neither tensors nor maps, with their types: nothing is made of
            them.
        data_files: files beside the graph that hold parameters, where the graph names them itself.
        metadata: what its exporter wrote into it besides, as texts by name.
    """

    feeds: tuple[GraphTensor, ...]
    fetches: tuple[GraphTensor, ...]
    parameters: tuple[GraphTensor, ...]
    activations: tuple[str, ...]
    written_by: str = ""
    white: int | None = None
    takes_bgr: bool = False
    left_out: tuple[str, ...] = ()
    data_files: tuple[Path, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes that the graph itself names, in the order of their scores."""
        return next((fetch.classes for fetch in self.fetches if fetch.classes), None)

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size the graph takes; None if it takes any."""
        first = self.feeds[0].shape
        return first[0] if first and first[0] > 0 and not self.feeds[0].is_lod else None


# A reader of one format, `read_graph` in its module: the graph's file -> the graph. It raises
# ConversionError if the file is no such graph, is damaged, or is newer than what is known here.
GraphReader = Callable[[Path], Graph]
