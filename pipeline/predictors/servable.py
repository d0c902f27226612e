"""Why a model cannot be served as a classifier of images, whatever its runtime.

`inspect`, `convert` and the runtimes read the same reasons here. Kept clean for Python 3.8.
"""

from __future__ import annotations

from bundle.model_config import SCORE_DTYPES, ModelConfig, TensorSpec

# Element types that a prepared image can be given in.
FEED_DTYPES = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64")


def feed_hindrance(config: ModelConfig) -> str:
    """Return why images cannot be fed to the model; "" if they can."""
    if len(config.feeds) != 1:
        return "has {} inputs ({}); images are fed to one".format(
            len(config.feeds), ", ".join(feed.name for feed in config.feeds)
        )
    feed = config.feeds[0]
    if feed.is_lod:
        return "its input {!r} takes sequences (LoD), and an image is none".format(feed.name)
    if feed.dtype not in FEED_DTYPES:
        return "its input {!r} takes {}; images are fed as {}".format(
            feed.name, feed.dtype, ", ".join(FEED_DTYPES)
        )
    return ""


def fetch_hindrance(fetch: TensorSpec) -> str:
    """Return why a fetch cannot be answered from; "" if it can."""
    if fetch.dtype not in SCORE_DTYPES:
        return "its output {!r} is {}, and scores are {}".format(
            fetch.name, fetch.dtype, ", ".join(SCORE_DTYPES)
        )
    if fetch.is_lod:
        return "its output {!r} gives sequences (LoD), and not one row of scores an image".format(
            fetch.name
        )
    return ""
