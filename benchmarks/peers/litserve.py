"""LitServe: `servers/litserve_server.py`, a LitAPI with LitServe's own batches."""

from __future__ import annotations

from dataclasses import dataclass

from .peer import Launch, Peer, Start, function_environment, settings


@dataclass(frozen=True)
class LitServe(Peer):
    """Uploads, for it reads no other body than JSON and forms."""

    def launch(self, start: Start) -> Launch:
        """Run the server's file."""
        command = [str(self.python), "-m", "benchmarks.peers.servers.litserve_server"]
        return Launch(command, function_environment(start))


LITSERVE = LitServe(
    name="litserve",
    title="LitServe",
    form="peer-upload",
    path="/predict",
    package="litserve",
    environment="build/peers-env",
    settings=settings((1, 0), (8, 1), (8, 5), (8, 10)),
    note="images as uploads: it reads no raw body",
)
