"""Run as `export_tiny_net.py FOLDER KIND`: a convolutional net as Paddle itself exports it."""

from __future__ import annotations

import sys

import paddle


class TinyNet(paddle.nn.Layer):  # type: ignore[misc]
    """A classifier with what real ones have: statistics, a buffer, a layer that is never used."""

    def __init__(self, two_outputs: bool) -> None:
        super().__init__()
        self.two_outputs = two_outputs
        self.body = paddle.nn.Sequential(
            paddle.nn.Conv2D(3, 4, 3, stride=2),
            paddle.nn.BatchNorm2D(4),
            paddle.nn.ReLU(),
            paddle.nn.AdaptiveAvgPool2D(1),
            paddle.nn.Flatten(),
            paddle.nn.Linear(4, 3),
        )
        self.unused = paddle.nn.Linear(7, 9)
        self.register_buffer("scale", paddle.to_tensor([1.0, 2.0, 3.0]))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]:
        logits = self.body(x) * self.scale
        scores = paddle.nn.functional.softmax(logits)
        return (logits, scores) if self.two_outputs else scores


def main(folder: str, kind: str) -> None:
    two_outputs = kind == "two outputs"
    net = TinyNet(two_outputs)
    net.eval()
    spec = paddle.static.InputSpec([2 if two_outputs else None, 3, 4, 4], "float32", "x")
    paddle.jit.save(net, f"{folder}/inference", input_spec=[spec])


if __name__ == "__main__":
    main(*sys.argv[1:])
