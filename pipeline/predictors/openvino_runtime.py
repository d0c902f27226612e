"""OpenVINO: `.onnx` and `.pdmodel` bundles on the CPU."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np

from bundle import Bundle
from bundle.formats import ONNX, PDMODEL

from .predictor import PredictorError, PredictorOptions
from .single_feed import SingleFeedPredictor

_FRONTENDS = {ONNX.name: "onnx", PDMODEL.name: "paddle"}
# The precisions, as OpenVINO calls them; a CPU's capabilities have our names, in capitals.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
# Imported with the package and left out here: it converts models of other frameworks, costs half
# of the import's time and a third of its memory, and brings OpenVINO's telemetry. The package
# goes without it where it is not installed.
_CONVERTER = "openvino.tools.ovc"


class OpenVinoPredictor(SingleFeedPredictor):
    """Runs the bundle's only feed and one of its fetches.

    `onednn`, `graph_optim` and `memory_optim` mean nothing here: OpenVINO has no such switches.

    One compiled model serves every batch size. A batch of another size than the one before plans
    its layers anew, 1.5 ms for a ShuffleNetV2 whose images take 4.5 ms each; after that it is as
    fast as a model that was compiled for the size. Those cost 0.2 s and 20 MB for each size.

    There is no cache of compiled models: it would save 0.12 of 0.17 seconds of a ShuffleNetV2's
    start and 1.2 of 1.85 of a ConvNeXt-Base's, for another copy of the weights beside the bundle,
    which is often read-only. And OpenVINO finds a cached model by path and time of its file: one
    that replaced it with the same time got the scores of the model before.
    """

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        openvino = _openvino()
        super().__init__(bundle, options.fetch)
        core = openvino.Core()
        _check_precision(core, options.precision)
        try:
            model = _read(bundle)
        except Exception as error:
            raise _unreadable(bundle, error) from error
        _check_feed(model, bundle, self._feed.name)
        self._output = _output_index(model, bundle, self._fetch.name)
        try:
            compiled = core.compile_model(model, "CPU", _settings(options))
            self._request = compiled.create_infer_request()
        except Exception as error:
            raise _unreadable(bundle, error) from error
        _check_computed_in(compiled, options.precision)
        self._tensor = openvino.Tensor
        version = openvino.__version__.partition("-")[0]
        self.name = f"OpenVINO {version} on {options.device}"

    def _run(self, feed: np.ndarray) -> np.ndarray:
        try:
            self._request.set_input_tensor(self._tensor(feed, shared_memory=True))
            self._request.infer()
            # The tensor is the request's own memory, and the next run writes to it.
            return np.array(self._request.get_output_tensor(self._output).data)
        except Exception as error:
            raise PredictorError(f"OpenVINO failed: {cause_of(error)}") from error


def _openvino() -> Any:  # noqa: ANN401
    """Import the package without its converter of models."""
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        import openvino

        return openvino
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # an ImportError for who imports it
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTER]
    return openvino


def _settings(options: PredictorOptions) -> dict[str, Any]:
    return {
        # A batch at a time, on as many threads as are given.
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads,
        # Each process would pin its threads to the first cores of the machine: all to the same.
        "ENABLE_CPU_PINNING": False,
        # What was planned for a layer and a shape is kept: 5000 of them unless set, which took
        # 500 MB after images of 400 sizes. So many are enough for the sizes of batches.
        "CPU_RUNTIME_CACHE_CAPACITY": 256,
        # Left to itself it computes in bf16 wherever the CPU can.
        "INFERENCE_PRECISION_HINT": _PRECISIONS[options.precision],
    }


def _read(bundle: Bundle) -> Any:  # noqa: ANN401
    """Read the graph with the one reader for its format.

    `Core.read_model` offers a file that it does not know to every reader, and they print.
    """
    from openvino.frontend import FrontEndManager

    frontend = FrontEndManager().load_by_framework(_FRONTENDS[bundle.graph_format.name])
    return frontend.convert(frontend.load(str(bundle.model_file)))


def _check_precision(core: Any, precision: str) -> None:  # noqa: ANN401
    """Refuse what OpenVINO would quietly compute in another precision."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    able = [name for name in _PRECISIONS if name.upper() in capabilities]
    if precision not in able:
        raise PredictorError(
            f"precision {precision} is requested, and OpenVINO computes in "
            f"{' or '.join(able)} on this CPU; set precision to one of these"
        )


def _check_computed_in(compiled: Any, precision: str) -> None:  # noqa: ANN401
    """Compare the precision that the compiled model has with the requested one."""
    real = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if real != _PRECISIONS[precision]:
        raise PredictorError(
            f"precision {precision} is requested, and OpenVINO computes this model in {real};"
            " take the key precision out"
        )


def _check_feed(model: Any, bundle: Bundle, feed: str) -> None:  # noqa: ANN401
    """Compare the feed that the bundle's configuration names with the graph's."""
    stated = bundle.model_config.feeds[0].dtype
    real = {name: _dtype(entry) for entry in model.inputs for name in _names(entry)}
    if len(model.inputs) != 1 or real.get(feed) != stated:
        has = ", ".join(f"{name} ({kind})" for name, kind in real.items()) or "none"
        raise PredictorError(
            f"serving_server_conf.prototxt says that the model's feed is {feed} ({stated}),"
            f" and the graph has {has}; convert the model again"
        )


def _output_index(model: Any, bundle: Bundle, fetch: str) -> int:  # noqa: ANN401
    """Return the place of the fetch among the graph's outputs."""
    for index, entry in enumerate(model.outputs):
        if fetch in _names(entry):
            return index
    has = ", ".join(name for entry in model.outputs for name in _names(entry)) or "none"
    raise PredictorError(
        f"serving_server_conf.prototxt says that the model's fetch is {fetch}, and the outputs of"
        f" {bundle.model_file.name} are {has}; convert the model again"
    )


def _names(entry: Any) -> list[str]:  # noqa: ANN401
    return sorted(entry.get_names())


def _dtype(entry: Any) -> str:  # noqa: ANN401
    return str(np.dtype(entry.get_element_type().to_dtype()))


def _unreadable(bundle: Bundle, error: Exception) -> PredictorError:
    return PredictorError(
        f"OpenVINO cannot load {bundle.model_file}: {cause_of(error)}; convert the model again, or"
        " set backend to auto"
    )


def cause_of(error: BaseException) -> str:
    """Return what an OpenVINO error says happened, in one line.

    Around it stand the C++ places that it passed, a line each, and the check that failed.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    places = re.compile(r"Exception from |Check '.*' failed at |FrontEnd API failed with |Summary:")
    said = [line for line in lines if line and not places.match(line)]
    return " ".join(" ".join(said).split())[:300].rstrip(". ") or type(error).__name__
