"""Runtimes that predict: the contract, the registry, and one adapter a runtime."""

from __future__ import annotations

from .predictor import Predictor, PredictorError, PredictorOptions
from .registry import create_predictor, load_predictor

__all__ = ["Predictor", "PredictorError", "PredictorOptions", "create_predictor", "load_predictor"]
