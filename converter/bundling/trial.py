"""Runs the preprocessing once, so that a wrong one is found at conversion and not at serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bundle.inference_yml import InferenceDescription, TransformOp
from bundle.model_config import ModelConfig
from pipeline.predictors.feed import Prepared, doubt, misfit, survey
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import InvalidRequest

from ..describing.framework_presets import fitting_preset
from ..errors import ConversionError
from ..reading.graph import Graph

# From black to white, less than this is no range of pixels from 0 to 255.
_PIXELS = 100.0
_ROUNDING = 0.02  # of numbers from 0 to 1


def try_preprocessing(
    description: InferenceDescription,
    config: ModelConfig,
    warn: Callable[[str], None],
    *,
    graph: Graph | None = None,
    given: str | None = None,
) -> None:
    """Prepare images of one colour and compare their arrays with what the model takes.

    Args:
        description: of the preprocessing.
        config: a model of one feed.
        warn: gets one line on numbers that the model takes and that are most likely wrong.
        graph: what it says of its input is compared too.
        given: --preprocess; where it is a preset, an error names the one that fits.

    Raises:
        ConversionError: an operator is unknown, or the array has another shape, element type or
            range than the feed.
    """
    ops = description.transform_ops
    try:
        prepared = survey(build_preprocess(ops))
    except (PreprocessError, InvalidRequest) as error:
        raise ConversionError(f"preprocessing: {error}") from error
    (feed,) = config.feeds
    # a bundle of 0.9's converter leaves open dimensions out
    wrong = misfit(prepared, feed, open_left_out=len(feed.shape) < 2)
    if wrong is not None:
        fitting = fitting_preset(given or "", feed.shape, feed.dtype)
        raise ConversionError(f"{wrong}; or give --preprocess {fitting}" if fitting else wrong)
    doubts = [doubt(prepared, feed)]
    if graph is not None:
        doubts += [_scaled_twice(prepared, graph), _turned(ops, graph)]
    for doubtful in doubts:
        if doubtful is not None:
            warn(doubtful)


def _scaled_twice(prepared: Prepared, graph: Graph) -> str | None:
    """What is said of numbers that are not those which the graph scales itself."""
    gives = (
        f"preprocessing gives numbers from {prepared.lowest:.4g} to {prepared.highest:.4g}, and the"
        f" graph scales its input {graph.feeds[0].name!r} itself, as"
    )
    if graph.white == 255 and prepared.width < _PIXELS:
        return (
            f"{gives} pixels from 0 to 255 need it: are they normalised twice? Networks of"
            " keras.applications that do so take --preprocess keras-pixels-SIZE"
        )
    inside = prepared.lowest >= -_ROUNDING and prepared.highest <= 1 + _ROUNDING
    if graph.white == 1 and not inside:
        return (
            f"{gives} numbers from 0 to 1 need it: are they normalised twice? Give mean 0 and std"
            " 1: torchvision:resize=256,crop=224,mean=0,std=1, for example, or in NormalizeImage"
        )
    return None


def _turned(ops: Sequence[TransformOp], graph: Graph) -> str | None:
    """What is said of RGB where the graph takes BGR."""
    bgr = any(op.name == "DecodeImage" and op.options.get("to_rgb") is False for op in ops)
    if bgr or not graph.takes_bgr:
        return None
    return (
        "the metadata of the graph says that it takes BGR (Image.BitmapPixelFormat), and"
        " preprocessing gives RGB: begin transform_ops with DecodeImage: {to_rgb: False}"
    )
