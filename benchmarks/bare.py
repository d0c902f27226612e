"""The limit: processes that only decode, preprocess and predict, as many as there are workers.

`python -m benchmarks.bare DEVICE BACKEND BUNDLE IMAGE...` loads one predictor of the runtime
BACKEND, on "cpu" with one thread or on "gpu", and prints a line of JSON with its scores. Then each
line of its input, "SECONDS BATCH", is answered with the images a second that it did in batches of
that size.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bundle import load_bundle
from pipeline.predictors import create_predictor
from pipeline.predictors.predictor import PredictorOptions
from pipeline.predictors.registry import AUTO
from pipeline.stages.activation import activate
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

ROOT = Path(__file__).resolve().parent.parent


class BareLimit:
    """Runs `processes` of them at once; `scores` are those of each image."""

    def __init__(
        self,
        bundle: Path,
        images: list[Path],
        processes: int,
        devices: Sequence[str] = ("",),
        backend: str = AUTO,
    ) -> None:
        """Start them; process i computes on GPU `devices[i % len(devices)]`, "" being the CPU."""
        command = [sys.executable, "-m", "benchmarks.bare"]
        files = [str(bundle), *map(str, images)]
        self._processes = [
            subprocess.Popen(
                [*command, "gpu" if device else "cpu", backend, *files],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**one_thread_environment(), "CUDA_VISIBLE_DEVICES": device},
            )
            for device in itertools.islice(itertools.cycle(devices), processes)
        ]
        # All must reply, so that each has loaded its model; the scores are the same.
        self.scores: list[list[float]] = [self._line(p) for p in self._processes].pop()

    def measure(self, seconds: float, batch: int = 1) -> float:
        """Return images a second over all processes together, in batches of `batch`."""
        for process in self._processes:
            print(seconds, batch, file=process.stdin, flush=True)
        return float(sum(self._line(process) for process in self._processes))

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.communicate()

    def _line(self, process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - JSON
        line = next(iter(process.stdout or ()), "")
        if not line:
            raise SystemExit("error: a process of the bare limit ended; see its message above")
        return json.loads(line)


def one_thread_environment() -> dict[str, str]:
    """Return our environment with every mathematical library on one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # Without paddle's warning of missing compilers among the figures.
    return {**os.environ, **threads, "PYTHONWARNINGS": "ignore::UserWarning"}


def main(device: str, backend: str, bundle: Path, images: list[Path]) -> None:
    """For each input line, seconds and batch size, print a line with the images a second."""
    cv2.setNumThreads(1)
    predict = _predict(bundle, device, backend)
    encoded = [image.read_bytes() for image in images]
    print(json.dumps([predict([data])[0].tolist() for data in encoded]), flush=True)
    for line in sys.stdin:
        seconds, batch = line.split()
        endless = itertools.cycle(encoded)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < float(seconds):
            predict(list(itertools.islice(endless, int(batch))))
            count += int(batch)
        print(json.dumps(count / (time.perf_counter() - started)), flush=True)


def _predict(path: Path, device: str, backend: str) -> Callable[[list[bytes]], np.ndarray]:
    loaded = load_bundle(path)
    predictor = create_predictor(loaded, backend, PredictorOptions(device=device, threads=1))
    preprocess = build_preprocess(loaded.description.transform_ops)

    def predict(batch: list[bytes]) -> np.ndarray:
        """Return the scores, float32 [N, classes], of N encoded images."""
        outputs = predictor.predict(np.stack([preprocess(decode_image(data)) for data in batch]))
        return activate(outputs, loaded.description.activation)

    return predict


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
