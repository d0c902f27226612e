"""A service on Paddle Serving 0.9 as its tutorials write it: `plain_service.py CONFIG PIDS`.

Runs in the environment of `make paddle-serving-env`, with nothing around the official engine: no
watchdog, no checks. Only the preparation of images is the bundle's own, so that the scores are
those of the other service. The number of each process that holds a model becomes a line of PIDS.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

# As the tutorials' own servers do: before paddle, or the interpreter crashes.
import requests  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
from paddle_serving_server.web_service import Op, WebService

from bundle import load_bundle
from bundle.strict_yaml import read_yaml
from pipeline.stages.preprocess import build_preprocess

SERVICE = "waste"


class ClassifyOp(Op):  # type: ignore[misc]
    """Base64 in, label and score out, in the three steps of 0.9."""

    bundle_dir: str
    pids: str

    def init_op(self) -> None:
        """Prepare what each process needs."""
        bundle = load_bundle(Path(self.bundle_dir))
        self._feed = bundle.model_config.feeds[0].alias
        self._fetch = bundle.model_config.fetches[0].alias
        self._labels = bundle.labels or ()
        self._prepare = build_preprocess(bundle.description.transform_ops)
        with Path(self.pids).open("a", encoding="ascii") as out:
            out.write("{}\n".format(os.getpid()))

    def preprocess(self, input_dicts: Any, data_id: int, log_id: int) -> Any:
        """Decode and prepare every image of a request."""
        ((_, request),) = input_dicts.items()
        arrays = []
        for value in request.values():
            data = np.frombuffer(base64.b64decode(value), np.uint8)
            # None for bytes that are not an image: the tutorials' servers do not check either.
            image: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
            arrays.append(self._prepare(image[:, :, ::-1]))
        return {self._feed: np.stack(arrays)}, False, None, ""

    def postprocess(self, input_dicts: Any, fetch_data: Any, data_id: int, log_id: int) -> Any:
        """Answer the best class of each image."""
        scores = fetch_data[self._fetch]
        best = [int(row.argmax()) for row in scores]
        labels = [self._labels[number] for number in best]
        probabilities = [float(row[number]) for row, number in zip(scores, best)]
        return {"label": str(labels), "prob": str(probabilities)}, None, ""


class ClassifyService(WebService):  # type: ignore[misc]
    """One op behind the official server."""

    def get_pipeline_response(self, read_op: Any) -> Any:
        """Return the last op."""
        return ClassifyOp(name=SERVICE, input_ops=[read_op])


def main(config: str, pids: str) -> None:
    """Serve until killed."""
    tree: Any = read_yaml(Path(config))
    ClassifyOp.bundle_dir = tree["op"][SERVICE]["local_service_conf"]["model_config"]
    ClassifyOp.pids = pids
    service = ClassifyService(name=SERVICE)
    service.prepare_pipeline_config(yml_dict=tree)
    service.run_service()


if __name__ == "__main__":
    main(*sys.argv[1:])
