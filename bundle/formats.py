"""The graph formats: how each is recognised, where its parameters lie, its names in a bundle.

    inference.json + inference.pdiparams                Paddle 3 (PIR)
    inference.pdmodel + inference.pdiparams             Paddle 2
    __model__ + __params__, or one file a parameter     Paddle 1 (fluid)
    *.onnx, with external data where it has some        PyTorch, Keras, TensorFlow ...

To add a format, write its reader in converter/reading/ and its row here. Kept clean for Python 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

# How much of a .json file is read to distinguish a PIR graph from other files.
_HEAD_BYTES = 256


@dataclass(frozen=True)
class GraphFormat:
    """One graph format.

    Attributes:
        name: its name in bundle.yml and in the JSON of `inspect`.
        title: its name in reports.
        model_file: the graph's file in a bundle.
        params_file: the combined parameters in a bundle; None: they lie in the graph's own file,
            or in files that the graph names from where it lies.
        reader: the module of converter/reading/ that reads a graph.
        suffix: the ending of graph files; "": they have the name `model_file`.
        marker: bytes in the head of every graph; b"" where suffix or name are enough.
        params_names: names of combined parameters; none: the graph's own name with `.pdiparams`.
        separate_params: each parameter may have a file of its own, named as the parameter.
        paddle: a graph of Paddle.
        program_desc: a ProgramDesc, which Paddle 2, Paddle Serving 0.9 and Paddle-Lite read too.
    """

    name: str
    title: str
    model_file: str
    params_file: Optional[str]
    reader: str
    suffix: str = ""
    marker: bytes = b""
    params_names: Tuple[str, ...] = ()
    separate_params: bool = False
    paddle: bool = True
    program_desc: bool = False

    def recognises(self, path: Path) -> bool:
        """Whether the existing file `path` is a graph of this format, by its name and its head.

        A file of the name that graphs of this format have is one, even if it is damaged: reading
        it reports what is wrong.
        """
        if path.name == self.model_file:
            return True
        if not self.suffix or path.suffix.lower() != self.suffix:
            return False
        return not self.marker or self.marker in _head(path)

    def params_beside(self, model_file: Path) -> Optional[Path]:
        """Return where the combined parameters of `model_file` lie by custom.

        None: each parameter has a file of its own, or the graph's file holds them. The file need
        not exist.
        """
        if self.params_file is None:
            return None
        if not self.params_names:
            return model_file.with_suffix(".pdiparams")
        usual = [model_file.parent / name for name in self.params_names]
        return next((path for path in usual if path.is_file()), None)


PIR = GraphFormat(
    name="pir",
    title="PIR (Paddle 3, inference.json)",
    model_file="inference.json",
    params_file="inference.pdiparams",
    reader="pir_graph",
    suffix=".json",
    marker=b'"pir"',
)
PDMODEL = GraphFormat(
    name="pdmodel",
    title="ProgramDesc (Paddle 2, .pdmodel)",
    model_file="inference.pdmodel",
    params_file="inference.pdiparams",
    reader="program_graph",
    suffix=".pdmodel",
    program_desc=True,
)
FLUID = GraphFormat(
    name="fluid",
    title="ProgramDesc (Paddle 1, __model__)",
    model_file="__model__",
    params_file="__params__",
    reader="program_graph",
    params_names=("__params__", "params"),
    separate_params=True,
    program_desc=True,
)
ONNX = GraphFormat(
    name="onnx",
    title="ONNX",
    model_file="inference.onnx",
    params_file=None,
    reader="onnx_graph",
    suffix=".onnx",
    paddle=False,
)

FORMATS: Dict[str, GraphFormat] = {row.name: row for row in (PIR, PDMODEL, FLUID, ONNX)}


def graphs_in(folder: Path) -> List[Tuple[GraphFormat, Path]]:
    """Return the graphs in `folder`, each with its format; none where there is no such folder."""
    files = [path for path in sorted(folder.glob("*")) if path.is_file()]
    return [(row, path) for row in FORMATS.values() for path in files if row.recognises(path)]


def format_of(model_file: Path) -> GraphFormat:
    """Return the format of a file that is known to be a graph, by its name.

    A name without a known ending is a `__model__` that was renamed.
    """
    suffix = model_file.suffix.lower()
    return next((row for row in FORMATS.values() if row.suffix and row.suffix == suffix), FLUID)


def file_patterns(last: str = " and ") -> str:
    """Return what graph files are called, for errors: "inference.json, ... and *.onnx"."""
    # Other .json files lie beside models too, so only the usual name is named.
    names = [
        row.model_file if row.marker or not row.suffix else "*" + row.suffix
        for row in FORMATS.values()
    ]
    return ", ".join(names[:-1]) + last + names[-1]


def _head(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for without an end
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
