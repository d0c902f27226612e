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
        if x.dtype == paddle.uint8:
            x = paddle.cast(x, "float32")
        logits = self.body(x) * self.scale
        scores = paddle.nn.functional.softmax(logits)
        return (logits, scores) if self.two_outputs else scores


class OperatorNet(paddle.nn.Layer):  # type: ignore[misc]
    """Every operator that PIR graphs are translated with."""

    def __init__(self) -> None:
        super().__init__()
        nn = paddle.nn
        self.first = nn.Sequential(
            nn.Conv2D(3, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8), nn.ReLU()
        )
        self.depthwise = nn.Sequential(nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.ReLU6())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2D(1), nn.Conv2D(8, 8, 1), nn.Hardsigmoid(), nn.Dropout(0.3)
        )
        self.activations = (
            nn.Hardswish(),
            nn.Swish(),
            nn.Sigmoid(),
            nn.Silu(),
            nn.LeakyReLU(0.2),
            nn.Tanh(),
        )
        self.last = nn.Linear(16, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.first(x * 0.5 + 0.25)
        x = self.depthwise(x)
        x = x * self.gate(x) - 0.1
        for activation in self.activations:
            x = x + activation(x)
        pooled = paddle.nn.functional.max_pool2d(x, 3, 2, padding=1)
        averaged = paddle.nn.functional.avg_pool2d(x, 2, 2)
        x = paddle.concat([pooled, averaged], axis=1)
        x = paddle.transpose(paddle.reshape(x, [-1, 2, 8, 2, 2]), [0, 2, 1, 3, 4])
        left, right = paddle.split(paddle.reshape(x, [-1, 16, 2, 2]), [8, 8], axis=1)
        first, second = paddle.split(left, 2, axis=1)
        x = paddle.concat([right, first, second], axis=1)
        x = paddle.mean(x, axis=[2, 3], keepdim=True)
        x = self.last(paddle.flatten(paddle.squeeze(x, axis=[2, 3]), 1))
        return paddle.nn.functional.softmax(x)


def main(folder: str, kind: str) -> None:
    two_outputs = kind == "two outputs"
    net = OperatorNet() if kind == "operators" else TinyNet(two_outputs)
    net.eval()
    dtype = "uint8" if kind == "uint8" else "float32"
    spec = paddle.static.InputSpec([2 if two_outputs else None, 3, 4, 4], dtype, "x")
    paddle.jit.save(net, f"{folder}/inference", input_spec=[spec])


if __name__ == "__main__":
    main(*sys.argv[1:])
