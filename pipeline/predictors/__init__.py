"""Runtimes that predict, one adapter each; `create_predictor` chooses by name."""

from __future__ import annotations

from bundle import Bundle

from .predictor import Predictor, PredictorError, PredictorOptions

__all__ = ["Predictor", "PredictorError", "PredictorOptions", "create_predictor"]


def create_predictor(
    bundle: Bundle, backend: str = "auto", options: PredictorOptions | None = None
) -> Predictor:
    """Load the bundle's model into `backend`: "paddle", "onnxruntime", or "auto" by its format.

    Raises:
        PredictorError: the backend is not known or not installed, or the model cannot be loaded.
    """
    options = options or PredictorOptions()
    if backend == "auto":
        backend = "onnxruntime" if bundle.graph_format == "onnx" else "paddle"
    # Imported where it is chosen: a runtime costs seconds and hundreds of megabytes.
    if backend == "paddle":
        from .paddle_inference import PaddleInferencePredictor

        return PaddleInferencePredictor(bundle, options)
    if backend == "onnxruntime":
        from .onnx_runtime import OnnxRuntimePredictor

        return OnnxRuntimePredictor(bundle, options)
    raise PredictorError(f"there is no backend {backend!r}; known: auto, paddle, onnxruntime")
