"""Runs the preprocessing once, so that a wrong one is found at conversion and not at serving."""

from __future__ import annotations

import numpy as np

from bundle.inference_yml import InferenceDescription
from bundle.model_config import ModelConfig
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import InvalidRequest

from ..errors import ConversionError

# Landscape, odd and larger than what is usually cut out.
_TRIAL_HEIGHT, _TRIAL_WIDTH = 481, 643


def try_preprocessing(description: InferenceDescription, config: ModelConfig) -> None:
    """Prepare a grey image and compare its array with what the model takes.

    Raises:
        ConversionError: an operator is unknown, or the array has not the shape of the only feed.
    """
    image = np.full((_TRIAL_HEIGHT, _TRIAL_WIDTH, 3), 127, np.uint8)
    try:
        prepared = build_preprocess(description.transform_ops)(image)
    except (PreprocessError, InvalidRequest) as error:
        raise ConversionError(f"preprocessing: {error}") from error
    if len(config.feeds) != 1 or config.feeds[0].is_lod:
        return
    feed = config.feeds[0]
    fits = len(feed.shape) == prepared.ndim and all(
        wanted in (-1, got) for wanted, got in zip(feed.shape, prepared.shape, strict=False)
    )
    if not fits:
        mend = "correct the sizes in transform_ops"
        if prepared.shape[-1] == 3 and feed.shape[:1] == (3,):
            mend = "end transform_ops with ToCHWImage"
        elif prepared.shape[0] == 3 and feed.shape[-1:] == (3,):
            mend = "take ToCHWImage out of transform_ops"
        if len(feed.shape) == 3 and not {3, -1} & {feed.shape[0], feed.shape[-1]}:
            mend = (
                "images have three channels, so no preprocessing helps: export a model that takes"
                " [N, 3, H, W] or [N, H, W, 3]"
            )
        raise ConversionError(
            f"preprocessing gives {list(prepared.shape)}, the model's input {feed.name!r} is"
            f" {list(feed.shape)}; {mend}"
        )
