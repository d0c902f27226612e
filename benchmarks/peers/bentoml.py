"""BentoML: `servers/bentoml_service.py`, a service with adaptive batching."""

from __future__ import annotations

from dataclasses import dataclass

from .peer import Launch, Peer, Start, function_environment, settings


@dataclass(frozen=True)
class BentoML(Peer):
    """Uploads, for a batchable method takes a list; how long it waits it learns by itself."""

    def launch(self, start: Start) -> Launch:
        """Run `bentoml serve` on the service's file."""
        service = "benchmarks.peers.servers.bentoml_service:Classification"
        command = [str(self.python), "-m", "bentoml", "serve", service]
        command += ["--host", "127.0.0.1", "--port", str(start.port)]
        own = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(start.folder)}
        return Launch(command, {**function_environment(start), **own})


BENTOML = BentoML(
    name="bentoml",
    title="BentoML",
    form="peer-uploads",
    path="/classify",
    package="bentoml",
    environment="build/peers-bentoml-env",
    settings=settings((1, 0), (8, 0)),
    note="images as uploads; it learns itself how long to wait for a batch",
)
