"""ONNX Runtime: `.onnx` bundles on CPU or GPU."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import numpy as np

from bundle import Bundle

from .predictor import PredictorError, PredictorOptions
from .single_feed import SingleFeedPredictor

_CUDA = "CUDAExecutionProvider"
# Batches come in every size up to batch_size, and the search of the default, EXHAUSTIVE, tries all
# kernels of each convolution anew at each.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntimePredictor(SingleFeedPredictor):
    """Runs the bundle's only feed and one of its fetches.

    `onednn` means nothing here: ONNX Runtime has kernels of its own.
    """

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise PredictorError(
                f"onnxruntime cannot be imported ({error}); in the kit's folder: "
                "pip install -e '.[onnx]'"
            ) from error
        if bundle.graph_format != "onnx":
            raise PredictorError(
                f"ONNX Runtime reads .onnx, and {bundle.path} holds {bundle.model_file.name}; set "
                "backend to paddle, or make an ONNX model of it with `python -m converter export`"
            )
        if options.precision != "fp32":
            raise PredictorError(
                f"precision {options.precision} is not set at serving time for ONNX; export the "
                "model in it, and take the key out"
            )
        super().__init__(bundle, options.fetch)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session_options.inter_op_num_threads = 1
        session_options.enable_cpu_mem_arena = options.memory_optim
        session_options.enable_mem_pattern = options.memory_optim
        session_options.log_severity_level = 3
        if not options.graph_optim:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            session_options.graph_optimization_level = level
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.model_file), session_options, providers=_providers(options.device)
            )
        except PredictorError:
            raise
        except Exception as error:
            raise PredictorError(
                f"ONNX Runtime cannot load {bundle.model_file}: {cause_of(error)}; convert the "
                "model again"
            ) from error
        if options.device != "cpu" and _CUDA not in self._session.get_providers():
            raise PredictorError(
                "a GPU is asked for and ONNX Runtime cannot use one, for the cause that it printed "
                "above; CUDA and cuDNN come with pip install 'onnxruntime-gpu[cuda,cudnn]', and "
                "nvidia-smi tells what GPUs are there"
            )
        self.name = f"ONNX Runtime {onnxruntime.__version__} on {options.device}"

    def _run(self, feed: np.ndarray) -> np.ndarray:
        try:
            (scores,) = self._session.run([self._fetch.name], {self._feed.name: feed})
        except Exception as error:
            raise PredictorError(f"ONNX Runtime failed: {cause_of(error)}") from error
        return np.asarray(scores)


def _providers(device: str) -> list[str | tuple[str, dict[str, Any]]]:
    """Refuse what ONNX Runtime would quietly compute on the CPU instead."""
    import onnxruntime

    if device == "cpu":
        return ["CPUExecutionProvider"]
    if _CUDA not in onnxruntime.get_available_providers():
        raise PredictorError(
            "a GPU is asked for and this ONNX Runtime is built for the CPU; install "
            'onnxruntime-gpu instead of onnxruntime, or set devices to ""'
        )
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        # CUDA and cuDNN as pip installs them are on no path where the loader looks. What it prints
        # of those that it does not find is told by the session, too.
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
    return [(_CUDA, dict(_CUDA_OPTIONS)), "CPUExecutionProvider"]


def cause_of(error: BaseException) -> str:
    """Return the line of an ONNX Runtime error that says what happened.

    Before it stand a code ("[ONNXRuntimeError] : 10 : INVALID_GRAPH : "), the model's path, and the
    file and signature of a C++ function.
    """
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    text = re.sub(r"^Load model from .*? failed:\s*", "", text)
    # "/onnxruntime_src/.../model.h:46 void function(const std::map<...>&) Cause"
    text = re.sub(r"^(Exception during initialization: )?/\S+:\d+ .*?\) (?=[A-Z])", "", text)
    return text[:300].rstrip(". ")
