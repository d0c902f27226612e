"""ExportedModel: what lies in a folder that Paddle, PaddleClas, PaddleX or PyTorch exported to.

The formats are those of `bundle.formats`; each row names its reader, a module of this package with
a function `read_graph` (`GraphReader`). Everything is read without Paddle, so that converting needs
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.formats import FORMATS, GraphFormat, file_patterns, format_of, graphs_in

from ..errors import ConversionError
from .apart import read_apart
from .content import fitting_parameters, format_by_content, graphs_by_content
from .graph import Graph
from .parameters import check_combined, check_separate

# What lies beside models and holds no parameters.
_NO_PARAMETERS = frozenset(
    {".info", ".md", ".pdopt", ".pdparams", ".prototxt", ".txt", ".yaml", ".yml"}
) | {row.suffix for row in FORMATS.values() if row.suffix}
_LARGEST_BATCH = 1024
_LOOKED_INTO = 500  # files further down
_SHOWN = 5  # folders that an error names
_SHOWN = 5  # of a list of candidates


@dataclass(frozen=True)
class ExportedModel:
    """A model as it was exported, its parameters checked against its graph.

    Attributes:
        folder: where it lies.
        graph_format: the graph's row in `bundle.formats`.
        model_file: the graph's file.
        params_file: the combined parameters; None if they have other files, or lie in the graph's.
        separate_params: those files, else empty.
        graph: inputs, outputs, parameters.
    """

    folder: Path
    graph_format: GraphFormat
    model_file: Path
    params_file: Path | None
    separate_params: tuple[Path, ...]
    graph: Graph


def read_export(
    folder: Path, model_file: str | None = None, params_file: str | None = None
) -> ExportedModel:
    """Recognise, read and check an exported model.

    Args:
        folder: the export's folder.
        model_file: the graph's file in it, where several lie there or it has an unusual name.
        params_file: the combined parameter file in it, likewise.

    Raises:
        ConversionError: there is no model, there are several, or its files do not fit together.
    """
    if not folder.is_dir():
        raise ConversionError(f"{folder}: {_why_no_folder(folder)}")
    graph_format, model = _choose(folder, model_file)
    if graph_format.params_file is None and params_file is not None:
        raise ConversionError(
            f"--params-file: an {graph_format.title} model names its parameter files itself"
        )
    graph = read_apart(graph_format, model)
    separate, params = graph.data_files, None
    if graph_format.params_file is not None:
        params = _choose_params(folder, graph_format, model, graph, params_file)
        if params is None:
            separate = check_separate(folder, graph.parameters)
        else:
            check_combined(params, graph.parameters)
    if (graph.fixed_batch or 0) > _LARGEST_BATCH:
        raise ConversionError(
            f"{model}: takes {graph.fixed_batch} images a run and no other number; export it with"
            " an open batch, or one of 1"
        )
    return ExportedModel(
        folder=folder,
        graph_format=graph_format,
        model_file=model,
        params_file=params,
        separate_params=separate,
        graph=graph,
    )


def _choose(folder: Path, model_file: str | None) -> tuple[GraphFormat, Path]:
    if model_file is not None:
        chosen = folder / model_file
        if not chosen.is_file():
            raise ConversionError(f"{chosen}: no such file; --model-file names a file in {folder}")
        return format_by_content(chosen) or format_of(chosen), chosen
    found = [(format_by_content(path) or row, path) for row, path in graphs_in(folder)]
    found = found or graphs_by_content(folder)
    if not found:
        raise ConversionError(f"{folder}: {_why_none(folder)}")
    if len(found) > 1:
        names = ", ".join(path.name for _, path in found)
        raise ConversionError(
            f"{folder}: holds {len(found)} models ({names}); choose one with --model-file"
        )
    return found[0]


def _why_no_folder(path: Path) -> str:
    if not path.is_file():
        return "no such folder; give the folder of an exported model"
    if path.suffix.lower() in _CHECKPOINTS:
        return f"is {_CHECKPOINTS[path.suffix.lower()]}"
    return "is a file; give the folder that it lies in"


def _why_none(folder: Path) -> str:
    if (folder / "serving_server").is_dir():
        return "is a bundle already; its model lies in serving_server"
    if folder.name == "serving_client":
        return "is the clients' half of a bundle; the model lies in serving_server beside it"
    # as output/ of a training lies above its export, and serving_model/ above its bundles
    below = [path for depth in ("*/*", "*/*/*") for path in sorted(folder.glob(depth))]
    usual = {row.model_file for row in FORMATS.values()}
    inner = [path.parent for path in below if path.name in usual and path.is_file()]
    inner = inner or [path.parent for path in below[:_LOOKED_INTO] if format_by_content(path)]
    if inner:
        names = sorted({str(path.relative_to(folder)) for path in inner})
        return f"holds no model itself; {_which_folder(names)}"
    for path in [*sorted(folder.iterdir()), *below]:
        if path.suffix.lower() in _CHECKPOINTS or path.name == "saved_model.pb":
            kind = _CHECKPOINTS.get(path.suffix.lower(), "a SavedModel of TensorFlow; " + _TF2ONNX)
            return f"holds no exported model; {path.relative_to(folder)} is {kind}"
    return f"holds no exported model ({file_patterns(' or ')}, or such a graph under another name)"


def _which_folder(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"did you mean its folder {names[0]}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"these folders in it do: {', '.join(names[:_SHOWN])}{more}; give one of them"


_TF2ONNX = "turn it into ONNX with tf2onnx first"
# What training leaves behind, by its ending.
_CHECKPOINTS = {
    ".pdparams": "a training checkpoint; export it for inference first",
    ".pth": "a PyTorch checkpoint; export it with torch.onnx.export first",
    ".pt": "a PyTorch checkpoint; export it with torch.onnx.export first",
    ".h5": "a model of Keras; " + _TF2ONNX,
    ".keras": "a model of Keras; " + _TF2ONNX,
}


def _choose_params(
    folder: Path, graph_format: GraphFormat, model: Path, graph: Graph, params_file: str | None
) -> Path | None:
    """The combined parameter file; None if each parameter has its own file."""
    if params_file is not None:
        return folder / params_file
    separate = graph_format.separate_params and any(
        (folder / parameter.name).is_file() for parameter in graph.parameters
    )
    own = graph_format.params_beside(model)
    # a parameter may be called `params` too
    if own is not None and own.is_file() and (not separate or own.name == graph_format.params_file):
        return own
    if separate:
        return None
    expected = own or folder / str(graph_format.params_file)
    listed, others = sorted(folder.glob("*.pdiparams")), _of_unusual_name(folder, model)
    fitting = fitting_parameters([*listed, *(set(others) - set(listed))], graph.parameters)
    return _only(sorted(fitting) or listed or others, f"{expected} is missing") or own


def _only(found: Sequence[Path], missing: str) -> Path | None:
    """The only candidate; whether it holds parameters is checked next.

    Raises:
        ConversionError: there are several.
    """
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConversionError(
            f"{missing}, and {len(found)} files may hold the parameters ({names}{more}); choose one"
            " with --params-file"
        )
    return found[0] if found else None


def _of_unusual_name(folder: Path, model: Path) -> list[Path]:
    """Other files that may hold parameters."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path != model]
    return [
        path
        for path in files
        if path.suffix.lower() not in _NO_PARAMETERS and not path.name.startswith(".")
    ]
