"""ImageNet weights of a network of `paddle.vision.models`, downloaded by Paddle itself."""

from __future__ import annotations

import re
from collections.abc import Callable

import paddle
from paddle.utils import download

from .errors import WeightsError

# What --init has in place of a path.
IMAGENET = "imagenet"

_URL = re.compile(r"https?://\S+")


def imagenet_weights(
    build: Callable[..., paddle.nn.Layer], arch: str
) -> tuple[dict[str, paddle.Tensor], str]:
    """Download the weights, or take them from Paddle's cache.

    Args:
        build: the function of `paddle.vision.models` that makes the network.
        arch: its name.

    Returns:
        The tensors by name, of 1000 classes, and the folder that Paddle keeps the file in.

    Raises:
        WeightsError: there are none of this network, or they cannot be downloaded here.
    """
    try:
        network = build(pretrained=True)
    except AssertionError as error:
        raise WeightsError(
            f"Paddle publishes no ImageNet weights of {arch}; give a .pdparams with --init FILE,"
            " another --arch, or leave --init out"
        ) from error
    except Exception as error:
        # Paddle raises RuntimeError after its tries, requests its own, a disk OSError.
        found = _URL.search(str(error))
        where = found.group() if found else "Paddle's store"
        # The RuntimeError says only that the tries are over; Paddle has logged each with its cause.
        cause = "" if isinstance(error, RuntimeError) else f" ({type(error).__name__}: {error})"
        raise WeightsError(
            f"the ImageNet weights of {arch} cannot be downloaded from {where}"
            f"{cause}; download that file on a machine that can and give it with"
            " --init FILE, or leave --init out"
        ) from error
    return dict(network.state_dict()), str(download.WEIGHTS_HOME)
