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
from pathlib import Path
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from bundle import Bundle, BundleError
from bundle.formats import FLUID, ONNX, PDMODEL, PIR, GraphFormat
from bundle.forms import EXPORT, FORMS

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
        formats: the graphs it reads; of a bundle's forms it takes the one that stands first here.
        reads: those graphs in words.
        extras: device -> the extra of this kit that installs the runtime for it.
        precisions: device -> what it may compute in, as the hardware has it.
        gpu_library: a pattern of a file in its package, there only if it is built for a GPU; "":
            the package does not show it.
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
    precisions: Mapping[str, Tuple[str, ...]]
    gpu_library: str = ""
    made_by: str = ""
    releases: Tuple[Release, ...] = ()

    @property
    def devices(self) -> Tuple[str, ...]:
        """The kinds of device it runs on."""
        return tuple(self.extras)

    def installed(self) -> bool:
        """Whether its package is there; nothing is imported."""
        return importlib.util.find_spec(self.package) is not None

    def built_for(self, device: str) -> bool:
        """Whether it is installed, and for all that its files show, in a build for the device."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or device not in self.devices:
            return False
        if device == "cpu" or not self.gpu_library:
            return True
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        return any(list(folder.glob(self.gpu_library)) for folder in folders)


class Choice(NamedTuple):
    """What loads a bundle: a runtime, and the form of the bundle that it is given."""

    runtime: Runtime
    form: str


# In the order of `auto`: measured on six models, docs/performance.md.
RUNTIMES: Dict[str, Runtime] = {
    row.name: row
    for row in (
        Runtime(
            name="onnxruntime",
            title="ONNX Runtime",
            predictor="onnx_runtime:OnnxRuntimePredictor",
            package="onnxruntime",
            formats=(ONNX,),
            reads="ONNX",
            extras={"cpu": "onnx", "gpu": "onnx-gpu"},
            precisions={"cpu": ("fp32",), "gpu": ("fp32",)},
            gpu_library="capi/*onnxruntime_providers_cuda*",
            made_by="converter add-onnx",
        ),
        Runtime(
            name="paddle",
            title="Paddle",
            predictor="paddle_inference:PaddleInferencePredictor",
            package="paddle",
            formats=(PIR, PDMODEL, FLUID),
            reads="Paddle's graphs",
            extras={"cpu": "cpu", "gpu": "gpu"},
            precisions={"cpu": ("fp32", "bf16"), "gpu": ("fp32", "fp16", "bf16")},
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
            name="openvino",
            title="OpenVINO",
            predictor="openvino_runtime:OpenVinoPredictor",
            package="openvino",
            formats=(ONNX, PDMODEL),
            reads="ONNX and .pdmodel",
            extras={"cpu": "openvino"},
            precisions={"cpu": ("fp32", "fp16", "bf16")},
            made_by="converter add-onnx",
        ),
    )
}
BACKENDS = (AUTO, *RUNTIMES)


def meaning() -> str:
    """Return what the values of `backend` mean, for the table of keys."""
    rows = ["`{}` ({})".format(runtime.name, runtime.reads) for runtime in RUNTIMES.values()]
    return (
        "auto: the first of {} that reads a form of the model, runs on the device and is installed"
    ).format(", ".join(rows))


def release_notes(
    bundle_formats: Tuple[GraphFormat, ...], *, feed_alias: bool = False
) -> Dict[str, str]:
    """Return release -> why it cannot serve a bundle with such graphs; "" if it can.

    Args:
        bundle_formats: of each form, the export's own first.
        feed_alias: a feed has an alias that is not its name.
    """
    notes = {}
    export = bundle_formats[0]
    for runtime in RUNTIMES.values():
        for release in runtime.releases or (Release(runtime.title, runtime.formats),):
            if set(bundle_formats) & set(release.formats):
                notes[release.title] = release.alias_limit if feed_alias else ""
            elif export in runtime.formats:
                notes[release.title] = release.limit
            elif runtime.made_by:
                notes[release.title] = "reads {}; `{}` makes ONNX of this".format(
                    runtime.reads, runtime.made_by
                )
            else:
                notes[release.title] = "reads {}, and this is {}".format(
                    runtime.reads, export.title
                )
    return notes


def readable_form(runtime: Runtime, bundle: Bundle, *, exact: bool = True) -> Optional[str]:
    """Return the form of the bundle that a runtime takes; None: it reads none.

    `exact`: forms that answer as the export does, up to rounding.
    """
    forms = [name for name in bundle.forms if FORMS[name].exact or not exact]
    for graph_format in runtime.formats:
        for name in forms:
            if bundle.forms[name].graph_format is graph_format:
                return name
    return None


def choose(
    bundle: Bundle, backend: str = AUTO, options: Optional[PredictorOptions] = None
) -> Choice:
    """Return the runtime that `backend` stands for, and the form of the bundle that it loads.

    "auto" on the CPU is the first row that reads an exact form of the bundle, computes in the
    precision and is installed. On a GPU the runtimes that read the export itself come first. If
    none of them is installed, it is the first that would do, whose error says how to install it.

    Raises:
        PredictorError: there is no such runtime or form, or the runtime reads no form.
    """
    options = options or PredictorOptions()
    device = options.device.partition(":")[0]
    if options.form is not None:
        try:
            graph = bundle.of_form(options.form).graph
        except BundleError as error:
            raise PredictorError(str(error)) from error
        able = {
            row.name: options.form for row in RUNTIMES.values() if graph.graph_format in row.formats
        }
    else:
        found = {row.name: readable_form(row, bundle) for row in RUNTIMES.values()}
        able = {name: form for name, form in found.items() if form is not None}
    if backend == AUTO:
        return _first(bundle, able, device, options.precision)
    if backend not in RUNTIMES:
        raise PredictorError(
            "there is no backend {!r}; known: {}".format(backend, ", ".join(BACKENDS))
        )
    if backend not in able:
        raise _reads_none(bundle, RUNTIMES[backend], able, options.form)
    return Choice(RUNTIMES[backend], able[backend])


def create_predictor(
    bundle: Bundle, backend: str = AUTO, options: Optional[PredictorOptions] = None
) -> Predictor:
    """Load the bundle's model into a runtime of the registry, or the one that "auto" chooses.

    Raises:
        PredictorError: the runtime is not known or not installed, does not run on the device, or
            the model cannot be loaded.
    """
    return load_predictor(bundle, backend, options)[1]


def load_predictor(
    bundle: Bundle, backend: str = AUTO, options: Optional[PredictorOptions] = None
) -> Tuple[Bundle, Predictor]:
    """As `create_predictor`; returns the bundle in the form that was loaded, too."""
    options = options or PredictorOptions()
    device = options.device.partition(":")[0]
    runtime, form = choose(bundle, backend, options)
    if device not in runtime.devices:
        raise PredictorError(
            "{} runs on {}, not on {!r}; mend device_type or devices".format(
                runtime.title, " or ".join(runtime.devices), options.device
            )
        )
    bundle = bundle.of_form(form)
    try:
        return bundle, _predictor_class(runtime)(bundle, options)
    except ImportError as error:
        raise PredictorError(
            "{} cannot be imported ({}); in the kit's folder: {} -m pip install -e '.[{}]'".format(
                runtime.title, error, sys.executable, runtime.extras[device]
            )
        ) from error


def _first(bundle: Bundle, able: Mapping[str, str], device: str, precision: str) -> Choice:
    """What "auto" stands for, of runtimes with the form that each reads."""
    if not able:
        raise PredictorError("no runtime reads {}".format(bundle.model_file.name))
    choices = [Choice(RUNTIMES[name], form) for name, form in able.items()]
    fitting = [choice for choice in choices if device in choice.runtime.devices] or choices
    # an adapter says better than this what precisions there are
    exact = [one for one in fitting if precision in one.runtime.precisions.get(device, ())]
    fitting = exact or fitting
    if device == "cpu":
        return next((one for one in fitting if one.runtime.installed()), fitting[0])
    own = [Choice(one.runtime, EXPORT) for one in fitting if _reads_export(one.runtime, bundle)]
    for one in own:
        if one.runtime.installed():
            return one
    return next((one for one in fitting if one.runtime.built_for(device)), (own or fitting)[0])


def _reads_export(runtime: Runtime, bundle: Bundle) -> bool:
    return bundle.forms[EXPORT].graph_format in runtime.formats


def _reads_none(
    bundle: Bundle, runtime: Runtime, able: Mapping[str, str], form: Optional[str]
) -> PredictorError:
    """The error of a runtime that reads none of the bundle's forms, or not the given one."""
    forms = [form] if form is not None else list(bundle.forms)
    holds = ", ".join("{} ({})".format(bundle.forms[name].model_file.name, name) for name in forms)
    other = ""
    if runtime.made_by and form is None:
        other = "; or make ONNX of it with `python -m {} {}`".format(runtime.made_by, bundle.path)
    return PredictorError(
        "{} reads {}, and {} holds {}; set backend to {}{}".format(
            runtime.title, runtime.reads, bundle.path, holds, " or ".join([*able, AUTO]), other
        )
    )


def _predictor_class(runtime: Runtime) -> Callable[[Bundle, PredictorOptions], Predictor]:
    module, _, name = runtime.predictor.partition(":")
    loaded: Callable[[Bundle, PredictorOptions], Predictor] = getattr(
        importlib.import_module("." + module, __package__), name
    )
    return loaded
