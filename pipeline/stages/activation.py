"""Logits -> scores, for a model that was exported without its last step."""

from __future__ import annotations

from typing import Optional

import numpy as np


def activate(logits: np.ndarray, activation: Optional[str]) -> np.ndarray:
    """Return scores in 0..1 of `logits`, float32 [N, classes].

    None and "none" return them as they are.
    "softmax": the scores of a row add up to 1. "sigmoid": each is a probability of its own.
    Both are computed so that no exponential overflows. A row that is not finite stays so.

    Raises:
        ValueError: another activation.
    """
    if activation in (None, "none"):
        return logits
    with np.errstate(invalid="ignore", over="ignore"):
        if activation == "softmax":
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            scores: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
        elif activation == "sigmoid":
            small = np.exp(-np.abs(logits))
            scores = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
        else:
            raise ValueError("the activation is softmax or sigmoid, not {!r}".format(activation))
    return scores.astype(logits.dtype, copy=False)
