"""The limit: processes that only decode, preprocess and predict, as many as there are workers.

`python -m benchmarks.bare BUNDLE PICTURE...` loads one predictor on one thread, prints a line of
JSON with its answers, then counts pictures for as many seconds as each line of its input says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bundle import load_bundle
from pipeline.predictors import create_predictor
from pipeline.predictors.predictor import PredictorOptions
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

ROOT = Path(__file__).resolve().parent.parent


class BareLimit:
    """Runs `processes` of them at once; `answers` holds the scores of each picture."""

    def __init__(self, bundle: Path, pictures: list[Path], processes: int) -> None:
        command = [sys.executable, "-m", "benchmarks.bare", str(bundle), *map(str, pictures)]
        self._processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=one_thread_environment(),
            )
            for _ in range(processes)
        ]
        # All are asked, so that each has loaded its model; they answer the same.
        self.answers: list[list[float]] = [self._line(p) for p in self._processes].pop()

    def measure(self, seconds: float) -> float:
        """Return pictures a second over all processes together."""
        for process in self._processes:
            print(seconds, file=process.stdin, flush=True)
        return float(sum(self._line(process) for process in self._processes))

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _line(self, process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - JSON
        line = next(iter(process.stdout or ()), "")
        if not line:
            raise SystemExit("error: a process of the bare limit ended; see its message above")
        return json.loads(line)


def one_thread_environment() -> dict[str, str]:
    """Return our environment with every mathematical library on one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main(bundle: Path, pictures: list[Path]) -> None:
    """Answer lines of seconds with lines of pictures a second."""
    cv2.setNumThreads(1)
    predict = _predict(bundle)
    encoded = [picture.read_bytes() for picture in pictures]
    print(json.dumps([predict(data).tolist() for data in encoded]), flush=True)
    for line in sys.stdin:
        started, count = time.perf_counter(), 0
        for data in _endlessly(encoded):
            predict(data)
            count += 1
            if time.perf_counter() - started > float(line):
                break
        print(json.dumps(count / (time.perf_counter() - started)), flush=True)


def _predict(path: Path) -> Callable[[bytes], np.ndarray]:
    loaded = load_bundle(path)
    predictor = create_predictor(loaded, options=PredictorOptions(threads=1))
    preprocess = build_preprocess(loaded.description.transform_ops)

    def predict(data: bytes) -> np.ndarray:
        """Return the scores, float32 [classes], of one encoded picture."""
        scores = predictor.predict(preprocess(decode_image(data))[np.newaxis])
        return np.asarray(scores[0])

    return predict


def _endlessly(items: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from items


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
