"""Runtimes that predict, one adapter each; `create_predictor` chooses by name."""

from __future__ import annotations

from bundle import Bundle

from .predictor import Predictor, PredictorError, PredictorOptions

__all__ = ["Predictor", "PredictorError", "PredictorOptions", "create_predictor"]


def create_predictor(
    bundle: Bundle, backend: str = "paddle", options: PredictorOptions | None = None
) -> Predictor:
    """Load the bundle's model into `backend`.

    Raises:
        PredictorError: the backend is not known or not installed, or the model cannot be loaded.
    """
    if backend != "paddle":
        raise PredictorError(f"there is no backend {backend!r}; known: paddle")
    # Imported where it is chosen: a runtime costs seconds and hundreds of megabytes.
    from .paddle_inference import PaddleInferencePredictor

    return PaddleInferencePredictor(bundle, options or PredictorOptions())
