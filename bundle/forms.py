"""Forms of a bundle: one model as several graphs, for runtimes that read or run them better.

    serving_server/                      "export": the graph as it was exported, always there
    serving_server/onnx/inference.onnx   "onnx": made of it by `converter convert`, and compared
    serving_server/onnx-int8/            "onnx-int8": made by `converter tune`, and compared

Feeds and fetches have the same names, types and shapes in every form. Kept clean for Python 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Optional

from .errors import BundleError
from .formats import ONNX, GraphFormat, graphs_in

EXPORT, ONNX_FORM, INT8_FORM = "export", "onnx", "onnx-int8"
# The field of an ONNX file (ModelProto) that holds the graph.
_GRAPH_FIELD = 7
_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class GraphFiles:
    """A graph with its parameters.

    `params_file` is None where parameters have files of their own, or lie in the graph's.
    """

    graph_format: GraphFormat
    model_file: Path
    params_file: Optional[Path]


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        folder: where it lies within serving_server; "": in serving_server itself.
        made_by: how to make it, for errors; `{}` stands for the bundle.
        exact: it answers as the export does, up to the rounding of floats. `auto` takes no other.
    """

    folder: str
    made_by: str
    exact: bool = True


FORMS: Dict[str, Form] = {
    EXPORT: Form("", "convert the model again"),
    ONNX_FORM: Form("onnx", "`python -m converter add-onnx {}` makes it"),
    INT8_FORM: Form(
        "onnx-int8",
        "quantise the ONNX of {}, for example with onnxruntime.quantization, and put it there",
        exact=False,
    ),
}


def form_folder(server_dir: Path, form: str) -> Path:
    """Return where the graph of a form lies."""
    return server_dir / FORMS[form].folder


def made_forms(server_dir: Path, export: GraphFormat) -> Dict[str, GraphFiles]:
    """Return form -> graph of what lies beside an export of the format `export`.

    Raises:
        BundleError: a form is incomplete, damaged, or none that such a bundle has.
    """
    found = {}
    for name, form in FORMS.items():
        folder = form_folder(server_dir, name)
        if name == EXPORT or not folder.is_dir():
            continue
        graphs = [path for _, path in graphs_in(folder)]
        if not graphs and not export.paddle:
            continue  # a folder of an ONNX export's own, with its parameters
        model = folder / ONNX.model_file
        if name == ONNX_FORM and not export.paddle:
            raise BundleError(
                "{} is a second ONNX graph beside an export that is ONNX itself; remove {}".format(
                    graphs[0], folder
                )
            )
        if graphs != [model]:
            raise BundleError(
                "{} must hold {} and no other graph, and holds {}; {}, or remove the folder".format(
                    folder,
                    model.name,
                    ", ".join(path.name for path in graphs) or "none",
                    form.made_by.format(server_dir.parent),
                )
            )
        check_onnx_whole(model)
        found[name] = GraphFiles(ONNX, model, None)
    return found


def check_onnx_whole(file: Path) -> None:
    """Check that an ONNX file ends where its own lengths say; the graph is not read.

    Raises:
        BundleError: it is truncated, or no ONNX model.
    """
    size, has_graph = file.stat().st_size, False
    with file.open("rb") as stream:
        while stream.tell() < size:
            key = _varint(stream)
            field, kind = (key or 0) >> 3, (key or 0) & 7
            length = _length(stream, kind) if key else None
            if length is None or stream.tell() + length > size:
                raise BundleError(
                    "{} is truncated or damaged; copy it again, or convert the model again".format(
                        file
                    )
                )
            has_graph = has_graph or (field == _GRAPH_FIELD and kind == _BYTES)
            stream.seek(length, 1)
    if not has_graph:
        raise BundleError(
            "{} holds no ONNX graph; copy it again, or convert the model again".format(file)
        )


def _length(stream: BinaryIO, kind: int) -> Optional[int]:
    """The bytes of a field's value that follow; None: no field of a message begins so."""
    if kind == _VARINT:
        return None if _varint(stream) is None else 0
    if kind == _BYTES:
        return _varint(stream)
    return {_FIXED64: 8, _FIXED32: 4}.get(kind)


def _varint(stream: BinaryIO) -> Optional[int]:
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    return None
