"""Ray Serve: `python -m benchmarks.peers.servers.ray_serve_app`."""

from __future__ import annotations

import signal

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.servers.function import BATCH_SIZE, PORT, WAIT_MS, WORKERS, Classifier


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Classification:
    """Receives raw images."""

    def __init__(self) -> None:
        """Load the model."""
        self._classifier = Classifier()

    @serve.batch(max_batch_size=BATCH_SIZE, batch_wait_timeout_s=WAIT_MS / 1000)
    async def classify(self, images: list[bytes]) -> list[dict[str, float]]:
        """Classify a batch that Ray Serve made of several requests."""
        return self._classifier.classify(images)

    async def __call__(self, request: Request) -> dict[str, float]:
        """Reply to one request."""
        return await self.classify(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT, "access_log": False})
    serve.run(Classification.bind(), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
