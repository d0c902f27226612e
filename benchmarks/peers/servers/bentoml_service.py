"""BentoML: `bentoml serve benchmarks.peers.servers.bentoml_service:Classification`."""

from __future__ import annotations

from pathlib import Path

import bentoml

from .function import BATCH_SIZE, WORKERS, Classifier


@bentoml.service(workers=WORKERS, traffic={"timeout": 60})
class Classification:
    """Receives uploads (a form): a batchable method takes a list, and a file is a path."""

    def __init__(self) -> None:
        """Load the model."""
        self._classifier = Classifier()

    if BATCH_SIZE > 1:

        @bentoml.api(batchable=True, max_batch_size=BATCH_SIZE, max_latency_ms=60_000)
        def classify(self, images: list[Path]) -> list[dict[str, float]]:
            """Classify a batch that BentoML made of several requests."""
            return self._classifier.classify([image.read_bytes() for image in images])

    else:

        @bentoml.api
        def classify(self, images: list[Path]) -> list[dict[str, float]]:
            """Classify the images of one request."""
            return self._classifier.classify([image.read_bytes() for image in images])
