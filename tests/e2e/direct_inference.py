"""Runs paddle.inference on prepared arrays; the reference that the service is compared with.

Reads {"model": [graph, parameters or null, arrays.npz]} as JSON, prints the scores as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from paddle import inference


def scores(graph: str, params: str | None, arrays: str) -> dict[str, list[float]]:
    if params is None:
        config = inference.Config(str(Path(graph).parent))
    else:
        config = inference.Config(graph, params)
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(1)
    predictor = inference.create_predictor(config)
    feed = predictor.get_input_handle(predictor.get_input_names()[0])
    fetch = predictor.get_output_handle(predictor.get_output_names()[0])
    answers = {}
    with np.load(arrays) as loaded:
        for name in loaded.files:
            feed.copy_from_cpu(loaded[name][np.newaxis])
            predictor.run()
            answers[name] = fetch.copy_to_cpu()[0].tolist()
    return answers


print(json.dumps({name: scores(*files) for name, files in json.load(sys.stdin).items()}))
