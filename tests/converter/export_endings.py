"""Run as `export_endings.py FOLDER NAME...`: nets ending in softmax, sigmoid and others, by Paddle.

FOLDER/NAME holds the export, and in scores.npy what the net gives for some images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from paddle.nn import functional


def softmax_moved(x: paddle.Tensor) -> paddle.Tensor:
    scores = paddle.unsqueeze(functional.softmax(x), axis=[2, 3])
    scores = paddle.squeeze(paddle.transpose(scores, [0, 1, 3, 2]), axis=[2, 3])
    scores = paddle.cast(paddle.cast(paddle.reshape(scores, [-1, 3]), "float64"), "float32")
    return paddle.clip(paddle.flatten(scores, 1), 1e-7, 1.0)


def softmax_out(x: paddle.Tensor) -> paddle.Tensor:
    powers = paddle.exp(x - paddle.max(x, axis=-1, keepdim=True))
    return powers / paddle.sum(powers, axis=-1, keepdim=True)


def mean_of_views(x: paddle.Tensor) -> paddle.Tensor:
    views = paddle.stack([functional.softmax(x), functional.softmax(2 * x)], axis=1)
    return paddle.mean(views, axis=1)


def two_heads(x: paddle.Tensor) -> paddle.Tensor:
    return paddle.concat([functional.softmax(x[:, :2]), functional.sigmoid(x)], axis=1)


ENDINGS: dict[str, Callable[[paddle.Tensor], paddle.Tensor]] = {
    "softmax": functional.softmax,
    "softmax_moved": softmax_moved,
    "softmax_times_one": lambda x: functional.softmax(x) * 1.0,
    "softmax_out": softmax_out,
    "exp_of_log": lambda x: paddle.exp(functional.log_softmax(x)),
    "mean_of_views": mean_of_views,
    "dropout": lambda x: functional.dropout(functional.softmax(x), 0.3, training=False),
    "sigmoid": functional.sigmoid,
    "two_heads": two_heads,
    "rest": lambda x: 1 - functional.sigmoid(x),
    "log_softmax": functional.log_softmax,
    "log_of_softmax": lambda x: paddle.log(functional.softmax(x)),
    "logits": lambda x: x,
    "twice": lambda x: functional.softmax(x) * 2.0,
    "gated": lambda x: functional.softmax(x) * x,
    "over_batch": lambda x: functional.softmax(x, axis=0),
}


class Net(paddle.nn.Layer):  # type: ignore[misc]
    """A layer, and one of the endings."""

    def __init__(self, ending: Callable[[paddle.Tensor], paddle.Tensor]) -> None:
        super().__init__()
        self.body = paddle.nn.Linear(4, 3)
        self.ending = ending

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.ending(self.body(paddle.mean(x, axis=[2])))


def main(folder: str, *names: str) -> None:
    paddle.seed(1)
    images = paddle.to_tensor(np.random.default_rng(1).normal(0, 9, (5, 4, 2)).astype(np.float32))
    for name in names:
        net = Net(ENDINGS[name])
        net.eval()
        out = Path(folder) / name
        spec = paddle.static.InputSpec([None, 4, 2], "float32", "x")
        paddle.jit.save(net, f"{out}/inference", input_spec=[spec])
        np.save(out / "scores.npy", net(images).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
