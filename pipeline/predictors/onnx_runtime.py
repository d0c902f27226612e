"""ONNX Runtime: `.onnx` bundles on CPU or GPU."""

from __future__ import annotations

import contextlib
import io
import re
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bundle import Bundle
from bundle.model_config import TensorSpec

from .onnx_library import load_onnxruntime
from .onnx_maps import Key, read_classes, scores_of_maps
from .predictor import PredictorError, PredictorOptions
from .single_feed import SingleFeedPredictor

Session: TypeAlias = Any  # onnxruntime.InferenceSession, which has no types
Provider: TypeAlias = str | tuple[str, dict[str, Any]]

# ONNX Runtime's names of element types, where they are not numpy's.
_TYPES = {"float32": "float", "float64": "double"}
_CUDA = "CUDAExecutionProvider"
# The default, EXHAUSTIVE, tries all kernels of each convolution: the first runs of a ConvNeXt-Base
# in sizes 1 to 8 took 3.9 seconds on an H200, against 0.2, and those after them 0.96 of the time.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntimePredictor(SingleFeedPredictor):
    """Runs the bundle's only feed and one of its fetches.

    `onednn` means nothing here: ONNX Runtime has kernels of its own.

    On a GPU each size of a run has a session of its own, and the sizes are powers of two: a session
    that gets another size than the time before plans every convolution anew. For EfficientNet-B5 on
    an H200 that takes 1.2 to 1.9 seconds (ONNX Runtime 1.31), and the run itself 5 to 14 ms.
    """

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        onnxruntime = load_onnxruntime()
        if options.precision != "fp32":
            raise PredictorError(
                f"precision {options.precision} is not set at serving time for ONNX; export the "
                "model in it, and take the key out"
            )
        super().__init__(bundle, options.fetch)
        self._device = options.device
        self._load = partial(_session, bundle.model_file, options, _providers(options.device))
        self._sessions: dict[int, Session] = {}
        session = self._session_for(bundle.fixed_batch or 1)
        _check_types(session, self._feed)
        self._classes = _classes(session, self._fetch.name, bundle.model_file)
        self.name = f"ONNX Runtime {onnxruntime.__version__} on {options.device}"

    def _run_size(self, images: int) -> int:
        return images if self._device == "cpu" else 1 << (images - 1).bit_length()

    def _session_for(self, images: int) -> Session:
        """Return the session that runs so many images; it is loaded at its first use."""
        size = 1 if self._device == "cpu" else images
        if size not in self._sessions:
            self._sessions[size] = self._load()
        return self._sessions[size]

    def _run(self, feed: np.ndarray) -> np.ndarray:
        session = self._session_for(len(feed))
        try:
            (scores,) = session.run([self._fetch.name], {self._feed.name: feed})
        except Exception as error:
            raise PredictorError(f"ONNX Runtime failed: {cause_of(error)}") from error
        if self._classes:
            return scores_of_maps(scores, self._classes, self._fetch.name)
        return np.asarray(scores)


def _check_types(session: Session, feed: TensorSpec) -> None:
    """Compare the feed that the bundle's configuration names with the graph's."""
    real = {entry.name: entry.type for entry in session.get_inputs()}
    stated = f"tensor({_TYPES.get(feed.dtype, feed.dtype)})"
    if real.get(feed.name) != stated:
        has = ", ".join(f"{name} ({kind})" for name, kind in real.items())
        raise PredictorError(
            f"serving_server_conf.prototxt says that the model's feed is {feed.name} ({stated}),"
            f" and the graph has {has}; convert the model again"
        )


def _classes(session: Session, fetch: str, model_file: Path) -> tuple[Key, ...]:
    """The classes of a fetch that is a map from each to its score; () for one of scores alone."""
    kind = {entry.name: entry.type for entry in session.get_outputs()}.get(fetch, "")
    if kind.startswith("seq(map("):
        return read_classes(model_file, fetch)
    if not kind.startswith("tensor("):
        raise PredictorError(
            f"the model's fetch {fetch} is {kind or 'not in the graph'}, and no tensor of scores;"
            " convert the model again"
        )
    return ()


def _session(model_file: Path, options: PredictorOptions, providers: list[Provider]) -> Session:
    onnxruntime = load_onnxruntime()
    session_options = _session_options(options)
    try:
        session = onnxruntime.InferenceSession(
            str(model_file), session_options, providers=providers
        )
    except Exception as error:
        raise PredictorError(
            f"ONNX Runtime cannot load {model_file}: {cause_of(error)}; convert the model again"
        ) from error
    session.disable_fallback()  # to the CPU, when a run fails
    if options.device != "cpu" and _CUDA not in session.get_providers():
        raise PredictorError(
            "a GPU is requested and ONNX Runtime cannot use one, for the cause that it printed "
            "above; CUDA and cuDNN come with pip install 'onnxruntime-gpu[cuda,cudnn]', and "
            "nvidia-smi shows what GPUs are there and how much of their memory is taken: each "
            "worker holds the weights once for each size of a batch"
        )
    return session


def _session_options(options: PredictorOptions) -> Any:  # noqa: ANN401
    onnxruntime = load_onnxruntime()
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    # The arena keeps what the largest batch needed. A worker with a ShuffleNetV2 had 150 to 154 MB
    # after batches of 1 to 8 images in any order. Without the arena it had 159 to 167, and with
    # malloc set to give memory back, 131 to 149 and a quarter to a half more time in batches of 8.
    # The pattern, a plan of the memory for each shape that is kept for good, took 14 MB more and
    # was not measurably faster; without the arena it took up to 265 MB.
    session_options.enable_cpu_mem_arena = options.memory_optim
    session_options.enable_mem_pattern = False
    if options.threads > 1:
        # An idle thread spins for its next part of an operator, on a core that decodes, answers
        # requests, or runs another worker.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session_options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    session_options.log_severity_level = 3
    if not options.graph_optim:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session_options.graph_optimization_level = level
    return session_options


def _providers(device: str) -> list[Provider]:
    """Refuse what ONNX Runtime would quietly compute on the CPU instead."""
    if device == "cpu":
        return ["CPUExecutionProvider"]
    onnxruntime = load_onnxruntime()
    if _CUDA not in onnxruntime.get_available_providers():
        raise PredictorError(
            "a GPU is requested and this ONNX Runtime is built for the CPU; pip uninstall "
            'onnxruntime, then pip install onnxruntime-gpu[cuda,cudnn], or set devices to ""'
        )
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        # The loader does not search the folders where pip installs CUDA and cuDNN. This prints the
        # libraries that it does not find; the session reports them too.
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
