"""Paddle Inference: PIR (inference.json), .pdmodel and __model__ on CPU or GPU.

`run` holds the interpreter lock from start to end, so a predictor belongs in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from bundle import Bundle
from bundle.formats import PIR

from .paddle_library import load_paddle
from .predictor import PredictorError, PredictorOptions
from .single_feed import SingleFeedPredictor

_GPU_MEMORY_MB = 256  # what the allocator starts with; it grows as needed


class PaddleInferencePredictor(SingleFeedPredictor):
    """Runs the bundle's only feed and one of its fetches."""

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        # Paddle's C++ side logs every pass of every start; errors stay.
        os.environ.setdefault("GLOG_minloglevel", "2")
        paddle = load_paddle(options.device)
        _check_device(options.device)
        super().__init__(bundle, options.fetch)
        self._has_run = False
        try:
            config = _config(paddle.config_class, bundle, options)
            with _silent_stdout():
                self._predictor = paddle.create_predictor(config)
            self._input = self._predictor.get_input_handle(self._feed.name)
            # The public name is of Paddle's Python side, which looks whether it gets an array.
            bound = getattr(self._input, "_copy_from_cpu_bind", None)
            self._copy_in = bound or self._input.copy_from_cpu
            self._output = self._predictor.get_output_handle(self._output_name(bundle))
        except Exception as error:
            raise PredictorError(
                f"Paddle cannot load {bundle.model_file}: {last_line(error)}; "
                "are graph and parameters from the same export?"
            ) from error
        self.name = f"Paddle {paddle.version} on {options.device}"

    def _run(self, feed: np.ndarray) -> np.ndarray:
        try:
            self._copy_in(feed)
            # the first run chooses kernels, and some of them print
            with contextlib.nullcontext() if self._has_run else _silent_stdout():
                self._predictor.run()
            self._has_run = True
            scores: np.ndarray = self._output.copy_to_cpu()
        except Exception as error:
            raise PredictorError(f"Paddle failed: {last_line(error)}") from error
        return scores

    def _output_name(self, bundle: Bundle) -> str:
        """Return the graph's name of the fetch; PIR numbers its outputs anew when it loads."""
        names: list[str] = list(self._predictor.get_output_names())
        if self._fetch.name in names:
            return self._fetch.name
        return names[bundle.model_config.fetches.index(self._fetch)]


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keep what Paddle prints of some operators, a line each, off stdout.

    They write to the file descriptor, past Python's own stream.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _config(config_class: Any, bundle: Bundle, options: PredictorOptions) -> Any:  # noqa: ANN401
    if bundle.params_file is None:
        config = config_class(str(bundle.server_dir))
    else:
        config = config_class(str(bundle.model_file), str(bundle.params_file))
    if options.device.startswith("gpu"):
        config.enable_use_gpu(_GPU_MEMORY_MB, 0, _gpu_precision(config_class, options))
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
    if bundle.graph_format is PIR:
        # Without these two, memory optimisation fails on PIR graphs.
        config.enable_new_ir(True)
        config.enable_new_executor(True)
        if options.onednn:
            # Paddle 3.3 lets an operator write over a value that another one still needs: with
            # oneDNN, (x - mean) / sqrt(((x - mean) ** 2).mean()) gives other numbers, as in the
            # normalisation over channels of ConvNeXt.
            config.delete_pass("inplace_pass")
    if options.memory_optim:
        config.enable_memory_optim()
    config.disable_glog_info()
    return config


def _gpu_precision(config_class: Any, options: PredictorOptions) -> Any:  # noqa: ANN401
    names = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16"}
    return getattr(config_class.Precision, names[options.precision])


def _check_device(device: str) -> None:
    """Refuse what Paddle would quietly compute on the CPU instead."""
    if device == "cpu":
        return
    import paddle

    if not paddle.is_compiled_with_cuda():
        raise PredictorError(
            "a GPU is requested and this Paddle is built for the CPU; install the extra gpu "
            'instead of cpu, or set devices to ""'
        )
    if paddle.device.cuda.device_count() == 0:
        raise PredictorError(
            "a GPU is requested and Paddle finds none; look at nvidia-smi and `devices`"
        )


def last_line(error: BaseException) -> str:
    """Return the line of a Paddle trace that says what happened.

    Its exceptions are pages of C++ frames with the message in the middle, marked by the class.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marked = [line for line in lines if "Error:" in line or "(at /" not in line]
    cause = [line for line in marked if "Error:" in line] or marked[-1:]
    return " ".join(cause[0].split())[:300] if cause else type(error).__name__
