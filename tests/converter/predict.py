"""`predict.py MODELS SHAPE`, lists in JSON: runs paddle.inference on each model's files."""

from __future__ import annotations

import json
import sys

import numpy as np
from paddle import inference


def main(models: list[list[str]], shape: list[int]) -> None:
    print(json.dumps([predict(files, shape) for files in models]))


def predict(files: list[str], shape: list[int]) -> tuple[str, str, list[list[float]]]:
    config = inference.Config(*files)
    config.disable_gpu()
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    (name,) = predictor.get_input_names()
    (output,) = predictor.get_output_names()
    batch = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    predictor.get_input_handle(name).copy_from_cpu(batch)
    predictor.run()
    scores = predictor.get_output_handle(output).copy_to_cpu()
    return name, output, scores.tolist()


if __name__ == "__main__":
    main(*map(json.loads, sys.argv[1:]))
