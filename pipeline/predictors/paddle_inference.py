"""Paddle Inference: PIR (inference.json), .pdmodel and __model__ on CPU or GPU.

`run` holds the interpreter lock from start to end, so a predictor belongs in a process of its own.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bundle import Bundle
from bundle.model_config import TensorSpec

from .predictor import PredictorError, PredictorOptions

# What numpy can take over as scores; others, class numbers among them, are no answer.
_SCORE_TYPES = ("float32", "float16", "float64")
_GPU_MEMORY_MB = 256  # what the allocator starts with; it grows as needed


class PaddleInferencePredictor:
    """Runs the bundle's only feed and one of its fetches."""

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        # Paddle's C++ side logs every pass of every start; errors stay.
        os.environ.setdefault("GLOG_minloglevel", "2")
        try:
            from paddle import inference
        except ImportError as error:
            raise PredictorError(
                f"paddlepaddle cannot be imported ({error}); install the extra cpu or gpu: "
                "pip install 'paddle-serving-kit[cpu]'"
            ) from error
        _check_device(options.device)
        self._feed = _only_feed(bundle)
        self._fetch = _answering_fetch(bundle, options.fetch)
        self._fixed_batch = bundle.fixed_batch
        try:
            self._predictor = inference.create_predictor(_config(inference, bundle, options))
            self._input = self._predictor.get_input_handle(self._feed.name)
            self._output = self._predictor.get_output_handle(self._output_name(bundle))
        except Exception as error:
            raise PredictorError(
                f"Paddle cannot load {bundle.model_file}: {last_line(error)}; "
                "are graph and parameters from the same export?"
            ) from error
        self.name = f"Paddle {_version()} on {options.device}"

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Return scores, float32 [N, classes]; see `Predictor.predict`.

        A graph that was exported for one batch size runs as often as the batch needs it.
        """
        self._check_shape(batch)
        size = self._fixed_batch
        if size is None or size == len(batch):
            return self._run(batch)
        # The last run is filled up with its last picture.
        filled = batch[[min(i, len(batch) - 1) for i in range(-(-len(batch) // size) * size)]]
        runs = [self._run(filled[begin : begin + size]) for begin in range(0, len(filled), size)]
        return np.concatenate(runs)[: len(batch)]

    def _run(self, batch: np.ndarray) -> np.ndarray:
        try:
            self._input.copy_from_cpu(np.ascontiguousarray(batch, np.float32))
            self._predictor.run()
            scores: np.ndarray = self._output.copy_to_cpu()
        except Exception as error:
            raise PredictorError(f"Paddle failed: {last_line(error)}") from error
        if scores.shape[:1] != (len(batch),):
            raise PredictorError(
                f"the fetch {self._fetch.name} has the shape {_shape(scores.shape)} for "
                f"{len(batch)} pictures; if the graph takes one picture a run, set batch_size to 1"
            )
        return scores.reshape(len(batch), -1).astype(np.float32, copy=False)

    def _output_name(self, bundle: Bundle) -> str:
        """Return the graph's name of the fetch; PIR numbers its outputs anew when it loads."""
        names: list[str] = list(self._predictor.get_output_names())
        if self._fetch.name in names:
            return self._fetch.name
        return names[bundle.model_config.fetches.index(self._fetch)]

    def _check_shape(self, batch: np.ndarray) -> None:
        wanted = self._feed.shape
        # 0.9's converter leaves open dimensions out: `shape: 3` may stand for 3 x any x any.
        whole = len(wanted) == batch.ndim - 1
        if whole and not all(
            want in (-1, have) for want, have in zip(wanted, batch.shape[1:], strict=True)
        ):
            raise PredictorError(
                f"the model's feed {self._feed.name} takes {_shape(wanted)} and the "
                f"preprocessing makes {_shape(batch.shape[1:])}; mend PreProcess in inference.yml"
            )


def _config(inference: Any, bundle: Bundle, options: PredictorOptions) -> Any:  # noqa: ANN401
    if bundle.graph_format == "fluid" and bundle.params_file is None:
        config = inference.Config(str(bundle.server_dir))
    else:
        config = inference.Config(str(bundle.model_file), str(bundle.params_file))
    if options.device.startswith("gpu"):
        config.enable_use_gpu(_GPU_MEMORY_MB, 0, _gpu_precision(inference, options))
    else:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(options.threads)
        if options.onednn:
            config.enable_mkldnn()
            if options.precision == "bf16":
                config.enable_mkldnn_bfloat16()
        else:
            config.disable_mkldnn()
    config.switch_ir_optim(options.graph_optim)
    if bundle.graph_format == "pir":
        # Without these two, memory optimisation fails on PIR graphs.
        config.enable_new_ir(True)
        config.enable_new_executor(True)
    if options.memory_optim:
        config.enable_memory_optim()
    config.disable_glog_info()
    return config


def _gpu_precision(inference: Any, options: PredictorOptions) -> Any:  # noqa: ANN401
    names = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16"}
    return getattr(inference.PrecisionType, names[options.precision])


def _only_feed(bundle: Bundle) -> TensorSpec:
    feeds = bundle.model_config.feeds
    if len(feeds) != 1:
        names = ", ".join(feed.name for feed in feeds)
        raise PredictorError(f"a classifier has one feed; this model has {len(feeds)}: {names}")
    return feeds[0]


def _answering_fetch(bundle: Bundle, alias: str | None) -> TensorSpec:
    fetches = bundle.model_config.fetches
    known = ", ".join(f"{fetch.alias} ({fetch.dtype})" for fetch in fetches)
    named = [fetch for fetch in fetches if fetch.alias == (alias or "prediction")]
    if alias is not None and not named:
        raise PredictorError(f"the model has no fetch {alias!r}; mend fetch_list: it has {known}")
    candidates = named or fetches
    for fetch in candidates:
        if fetch.dtype in _SCORE_TYPES:
            return fetch
    raise PredictorError(
        f"scores are needed, of {', '.join(_SCORE_TYPES)}, and the model gives {known}; "
        "export it with its softmax output"
    )


def _check_device(device: str) -> None:
    """Refuse what Paddle would quietly compute on the CPU instead."""
    import paddle

    if device.partition(":")[0] not in ("cpu", "gpu"):
        raise PredictorError(f"the device is cpu or gpu, not {device!r}")
    if device != "cpu" and not paddle.is_compiled_with_cuda():
        raise PredictorError(
            "a GPU is asked for and this Paddle is built for the CPU; install the extra gpu "
            'instead of cpu, or set devices to ""'
        )
    if device != "cpu" and paddle.device.cuda.device_count() == 0:
        raise PredictorError(
            "a GPU is asked for and Paddle finds none; look at nvidia-smi and `devices`"
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)


def _version() -> str:
    import paddle

    return str(paddle.__version__)


def last_line(error: BaseException) -> str:
    """Return the line of a Paddle trace that says what happened.

    Its exceptions are pages of C++ frames with the message in the middle, marked by the class.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marked = [line for line in lines if "Error:" in line or "(at /" not in line]
    told = [line for line in marked if "Error:" in line] or marked[-1:]
    return " ".join(told[0].split())[:300] if told else type(error).__name__
