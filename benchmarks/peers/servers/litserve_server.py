"""LitServe: `python -m benchmarks.peers.servers.litserve_server`."""

from __future__ import annotations

import litserve

from .function import BATCH_SIZE, PORT, WAIT_MS, WORKERS, Classifier


class ImageAPI(litserve.LitAPI):
    """Receives uploads (a form): LitServe reads no other body than JSON and forms."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - its interface
        """Load the model."""
        self._classifier = Classifier()

    def decode_request(self, request):  # noqa: ANN001, ANN201 - a form
        """Return the uploaded file."""
        return request["image"].file.read()

    def predict(self, x):  # noqa: ANN001, ANN201 - one or a list, as the batch size says
        """Classify one image or a batch."""
        return self._classifier.classify(x) if BATCH_SIZE > 1 else self._classifier.classify([x])[0]

    def batch(self, inputs):  # noqa: ANN001, ANN201
        """Keep encoded images as a list; the default stacks arrays."""
        return inputs

    def encode_response(self, output):  # noqa: ANN001, ANN201
        """Return the result, which becomes JSON."""
        return output


if __name__ == "__main__":
    api = ImageAPI(max_batch_size=BATCH_SIZE, batch_timeout=WAIT_MS / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
