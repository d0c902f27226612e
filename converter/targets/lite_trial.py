"""Runs inside Paddle-Lite's own environment (Python 3.7): optimise a model, or run one.

    lite_trial.py optimize GRAPH PARAMS OUTPUT TARGET      writes OUTPUT.nb for arm or x86
    lite_trial.py run MODEL.nb OUTPUT_INDEX INPUT.npy SCORES.npy [INPUT.npy SCORES.npy ...]

Its own command, for Paddle-Lite aborts the process where it fails.
"""

from __future__ import annotations

import sys
from typing import Sequence

import numpy as np
from paddlelite import lite


def optimize(graph: str, params: str, output: str, target: str) -> None:
    """Write `output`.nb."""
    tool = lite.Opt()
    tool.set_model_file(graph)
    tool.set_param_file(params)
    tool.set_model_type("naive_buffer")
    tool.set_valid_places(target)
    tool.set_optimize_out(output)
    tool.run()


def run(model: str, index: int, files: Sequence[str]) -> None:
    """Write the output number `index` for every input file; prints Paddle-Lite's version."""
    config = lite.MobileConfig()
    config.set_model_from_file(model)
    predictor = lite.create_paddle_predictor(config)
    for source, target in zip(files[::2], files[1::2]):
        predictor.get_input(0).from_numpy(np.load(source))
        predictor.run()
        np.save(target, predictor.get_output(index).numpy())
    print(predictor.get_version())


if __name__ == "__main__":
    if sys.argv[1] == "optimize":
        optimize(*sys.argv[2:])
    else:
        run(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
