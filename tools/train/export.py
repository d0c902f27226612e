"""Exports a trained network as an inference model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import paddle
import yaml

from bundle.parameter_file import check_whole

from .normalization import IMAGENET, Normalization


class _Scored(paddle.nn.Layer):  # type: ignore[misc]
    """The network with softmax at its end, as PaddleClas exports it."""

    def __init__(self, network: paddle.nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Return scores [N, classes] of images [N, 3, H, W]."""
        return paddle.nn.functional.softmax(self.network(x))


def export(
    network: paddle.nn.Layer,
    folder: Path,
    name: str,
    labels: Sequence[str],
    resize: int,
    size: int,
    normalization: Normalization = IMAGENET,
) -> None:
    """Write `folder`/inference.{json,pdiparams,yml}; the batch stays open, the input is `x`.

    Raises:
        BundleError: the parameters were not written whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scored = _Scored(network)
    scored.eval()
    spec = [paddle.static.InputSpec([None, 3, size, size], "float32", name="x")]
    # Without full_graph Paddle warns that it ignores the spec.
    graph = paddle.jit.to_static(scored, input_spec=spec, full_graph=True)
    paddle.jit.save(graph, str(folder / "inference"))
    check_whole(folder / "inference.pdiparams")  # Paddle reports no error when the disk is full
    description = {
        "Global": {"model_name": name},
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": {"resize_short": resize}},
                {"CropImage": {"size": size}},
                {
                    "NormalizeImage": {
                        "channel_num": 3,
                        "mean": list(normalization.mean),
                        "order": "",
                        "scale": 0.00392156862745098,
                        "std": list(normalization.std),
                    }
                },
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {"Topk": {"topk": 1, "label_list": list(labels)}},
    }
    with (folder / "inference.yml").open("w", encoding="utf-8") as out:
        yaml.safe_dump(description, out, allow_unicode=True, sort_keys=False)
