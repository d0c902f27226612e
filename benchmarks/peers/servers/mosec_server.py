"""Mosec: `python -m benchmarks.peers.servers.mosec_server --port PORT`."""

from __future__ import annotations

from mosec import Server, Worker

from .function import BATCH_SIZE, WAIT_MS, WORKERS, Classifier


class Inference(Worker):
    """Receives raw images; with batches above 1, a list of them."""

    def __init__(self) -> None:
        """Load the model."""
        super().__init__()
        self._classifier = Classifier()

    def deserialize(self, data: bytes) -> bytes:
        """Return the body as it is: the image."""
        return data

    def forward(self, data):  # noqa: ANN001, ANN201 - one or a list, as the batch size says
        """Classify one image or a batch."""
        if BATCH_SIZE == 1:
            return self._classifier.classify([data])[0]
        return self._classifier.classify(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Inference, num=WORKERS, max_batch_size=BATCH_SIZE, max_wait_time=WAIT_MS)
    server.run()
