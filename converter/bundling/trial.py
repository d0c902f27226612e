"""Runs the preprocessing once, so that a wrong one is found at conversion and not at serving."""

from __future__ import annotations

from collections.abc import Callable

from bundle.inference_yml import InferenceDescription
from bundle.model_config import ModelConfig
from pipeline.predictors.feed import doubt, misfit, survey
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import InvalidRequest

from ..describing.framework_presets import fitting_preset
from ..errors import ConversionError

# From black to white, less than this is no range of pixels from 0 to 255.
_PIXELS = 100.0


def try_preprocessing(
    description: InferenceDescription,
    config: ModelConfig,
    warn: Callable[[str], None],
    *,
    scales_pixels: bool = False,
    given: str | None = None,
) -> None:
    """Prepare images of one colour and compare their arrays with what the model takes.

    Args:
        description: of the preprocessing.
        config: a model of one feed.
        warn: gets one line on numbers that the model takes and that are most likely wrong.
        scales_pixels: the graph scales pixels from 0 to 255 itself.
        given: --preprocess; where it is a preset, an error names the one that fits.

    Raises:
        ConversionError: an operator is unknown, or the array has another shape, element type or
            range than the feed.
    """
    try:
        prepared = survey(build_preprocess(description.transform_ops))
    except (PreprocessError, InvalidRequest) as error:
        raise ConversionError(f"preprocessing: {error}") from error
    (feed,) = config.feeds
    # a bundle of 0.9's converter leaves open dimensions out
    wrong = misfit(prepared, feed, open_left_out=len(feed.shape) < 2)
    if wrong is not None:
        fitting = fitting_preset(given or "", feed.shape, feed.dtype)
        raise ConversionError(f"{wrong}; or give --preprocess {fitting}" if fitting else wrong)
    doubtful = doubt(prepared, feed)
    if scales_pixels and prepared.width < _PIXELS:
        doubtful = (
            f"preprocessing gives numbers from {prepared.lowest:.4g} to {prepared.highest:.4g}, and"
            f" the graph scales its input {feed.name!r} itself, as pixels from 0 to 255 need it:"
            " are they normalised twice? Networks of keras.applications that do so take"
            " --preprocess keras-pixels-SIZE"
        )
    if doubtful is not None:
        warn(doubtful)
