"""The accuracy of a network on a set of images."""

from __future__ import annotations

import numpy as np
import paddle
from paddle.nn import functional

from tools.accuracy import Report, report_of

from .images import ImageSet, centre
from .normalization import IMAGENET, Normalization


def scores_of(
    network: paddle.nn.Layer,
    image_set: ImageSet,
    resize: int,
    size: int,
    normalization: Normalization = IMAGENET,
) -> np.ndarray:
    """Return softmax scores, float32 [N, classes], of the middle of each image."""
    network.eval()
    scores = []
    with paddle.no_grad():
        for start in range(0, len(image_set.images), 32):
            chunk = image_set.images[start : start + 32]
            batch = normalization([centre(image, resize, size) for image in chunk])
            scores.append(functional.softmax(network(paddle.to_tensor(batch))).numpy())
    return np.concatenate(scores)


def evaluate(
    network: paddle.nn.Layer,
    image_set: ImageSet,
    resize: int,
    size: int,
    normalization: Normalization = IMAGENET,
) -> Report:
    """Count the best categories of the network on `image_set`."""
    predicted = scores_of(network, image_set, resize, size, normalization).argmax(axis=1)
    return report_of(image_set.targets, predicted, image_set.classes)
