"""The registry of runtimes: what each is called, which graphs it reads, what installs it.

`auto`, the config key `backend`, `converter inspect`, error texts and docs read these rows. To add
a runtime, write one module here (see `predictor.Predictor`) and its row. A runtime is imported when
a model is loaded into it, for it costs seconds and hundreds of megabytes. Kept clean for
Python 3.8: the host for the official engine reads the same table of keys.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from bundle import Bundle
from bundle.formats import FLUID, ONNX, PDMODEL, PIR, GraphFormat

from .predictor import Predictor, PredictorError, PredictorOptions

AUTO = "auto"
_PROGRAMS_ONLY = "reads .pdmodel and __model__, not inference.json"


@dataclass(frozen=True)
class Release:
    """One line of `inspect`: a version of a runtime that serves bundles.

    Attributes:
        title: its name.
        formats: the graphs it reads.
        limit: why it does not read the other graphs of its runtime.
        alias_limit: why it does not serve a feed whose alias is not its name; "": it does.
    """

    title: str
    formats: Tuple[GraphFormat, ...]
    limit: str = ""
    alias_limit: str = ""


@dataclass(frozen=True)
class Runtime:
    """One runtime.

    Attributes:
        name: the value of the config key `backend`.
        title: its name in messages.
        predictor: `module:Class` within this package; called with (Bundle, PredictorOptions), it
            returns a `Predictor`, or raises ImportError if its library is missing or broken.
        package: the package that Python imports for it.
        formats: the graphs it reads.
        reads: those graphs in words.
        extras: device -> the extra of this kit that installs the runtime for it.
        made_by: the command of this kit that makes such a graph of a bundle, if there is one.
        releases: the lines of `inspect`; none: one line, `title`.
    """

    name: str
    title: str
    predictor: str
    package: str
    formats: Tuple[GraphFormat, ...]
    reads: str
    extras: Mapping[str, str]
    made_by: str = ""
    releases: Tuple[Release, ...] = ()

    @property
    def devices(self) -> Tuple[str, ...]:
        """The kinds of device it runs on."""
        return tuple(self.extras)

    def installed(self) -> bool:
        """Whether its package is there; nothing is imported."""
        return importlib.util.find_spec(self.package) is not None


RUNTIMES: Dict[str, Runtime] = {
    row.name: row
    for row in (
        Runtime(
            name="paddle",
            title="Paddle",
            predictor="paddle_inference:PaddleInferencePredictor",
            package="paddle",
            formats=(PIR, PDMODEL, FLUID),
            reads="Paddle's graphs",
            extras={"cpu": "cpu", "gpu": "gpu"},
            releases=(
                Release("Paddle 3.x", (PIR, PDMODEL, FLUID)),
                Release("Paddle 2.6", (PDMODEL, FLUID), _PROGRAMS_ONLY),
                Release(
                    "Paddle Serving 0.9",
                    (PDMODEL, FLUID),
                    _PROGRAMS_ONLY,
                    alias_limit="its local predictor needs feed alias = input name",
                ),
            ),
        ),
        Runtime(
            name="onnxruntime",
            title="ONNX Runtime",
            predictor="onnx_runtime:OnnxRuntimePredictor",
            package="onnxruntime",
            formats=(ONNX,),
            reads="ONNX",
            extras={"cpu": "onnx", "gpu": "onnx-gpu"},
            made_by="converter export",
        ),
        Runtime(
            name="openvino",
            title="OpenVINO",
            predictor="openvino_runtime:OpenVinoPredictor",
            package="openvino",
            formats=(ONNX, PDMODEL),
            reads="ONNX and .pdmodel",
            extras={"cpu": "openvino"},
        ),
    )
}
BACKENDS = (AUTO, *RUNTIMES)


def meaning() -> str:
    """Return what the values of `backend` mean, for the table of keys."""
    rows = ["`{}` ({})".format(runtime.name, runtime.reads) for runtime in RUNTIMES.values()]
    return "auto: the first of {} that reads the model, runs on the device and is installed".format(
        ", ".join(rows)
    )


def release_notes(graph_format: GraphFormat, *, feed_alias: bool = False) -> Dict[str, str]:
    """Return release -> why it cannot serve such graphs; "" if it can.

    `feed_alias`: a feed has an alias that is not its name.
    """
    notes = {}
    for runtime in RUNTIMES.values():
        for release in runtime.releases or (Release(runtime.title, runtime.formats),):
            if graph_format in release.formats:
                notes[release.title] = release.alias_limit if feed_alias else ""
            elif graph_format in runtime.formats:
                notes[release.title] = release.limit
            elif runtime.made_by:
                notes[release.title] = "reads {}; `{}` makes it of this".format(
                    runtime.reads, runtime.made_by
                )
            else:
                notes[release.title] = "reads {}, and this is {}".format(
                    runtime.reads, graph_format.title
                )
    return notes


def choose(bundle: Bundle, backend: str = AUTO, device: str = "cpu") -> Runtime:
    """Return the runtime that `backend` stands for on "cpu" or "gpu".

    "auto" is the first row that reads the bundle's graph, runs on the device and is installed; if
    none is installed, the first that reads the graph and runs on the device.

    Raises:
        PredictorError: there is no such runtime, or it does not read the graph.
    """
    readers = _readers(bundle.graph_format)
    if backend == AUTO:
        if not readers:
            raise PredictorError("no runtime reads {}".format(bundle.model_file.name))
        fitting = [runtime for runtime in readers if device in runtime.devices] or readers
        return next((runtime for runtime in fitting if runtime.installed()), fitting[0])
    if backend not in RUNTIMES:
        raise PredictorError(
            "there is no backend {!r}; known: {}".format(backend, ", ".join(BACKENDS))
        )
    runtime = RUNTIMES[backend]
    if runtime not in readers:
        other = ""
        if runtime.made_by:
            other = ", or make {} of it with `python -m {}`".format(runtime.reads, runtime.made_by)
        raise PredictorError(
            "{} reads {}, and {} holds {}; set backend to {}{}".format(
                runtime.title,
                runtime.reads,
                bundle.path,
                bundle.model_file.name,
                " or ".join([reader.name for reader in readers] + [AUTO]),
                other,
            )
        )
    return runtime


def create_predictor(
    bundle: Bundle, backend: str = AUTO, options: Optional[PredictorOptions] = None
) -> Predictor:
    """Load the bundle's model into a runtime of the registry, or the one that "auto" chooses.

    Raises:
        PredictorError: the runtime is not known or not installed, does not run on the device, or
            the model cannot be loaded.
    """
    options = options or PredictorOptions()
    device = options.device.partition(":")[0]
    runtime = choose(bundle, backend, device)
    if device not in runtime.devices:
        raise PredictorError(
            "{} runs on {}, not on {!r}; mend device_type or devices".format(
                runtime.title, " or ".join(runtime.devices), options.device
            )
        )
    try:
        load = _predictor_class(runtime)
        return load(bundle, options)
    except ImportError as error:
        raise PredictorError(
            "{} cannot be imported ({}); in the kit's folder: {} -m pip install -e '.[{}]'".format(
                runtime.title, error, sys.executable, runtime.extras[device]
            )
        ) from error


def _readers(graph_format: GraphFormat) -> List[Runtime]:
    return [runtime for runtime in RUNTIMES.values() if graph_format in runtime.formats]


def _predictor_class(runtime: Runtime) -> Callable[[Bundle, PredictorOptions], Predictor]:
    module, _, name = runtime.predictor.partition(":")
    loaded: Callable[[Bundle, PredictorOptions], Predictor] = getattr(
        importlib.import_module("." + module, __package__), name
    )
    return loaded
