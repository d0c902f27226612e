"""Mosec: `servers/mosec_server.py`, a worker class with Mosec's own batches."""

from __future__ import annotations

from dataclasses import dataclass

from .peer import Launch, Peer, Start, function_environment, settings


@dataclass(frozen=True)
class Mosec(Peer):
    """Raw images; a Rust front end, worker processes behind sockets."""

    def launch(self, start: Start) -> Launch:
        """Run the server's file."""
        module = "benchmarks.peers.servers.mosec_server"
        options = ["--address", "127.0.0.1", "--port", str(start.port), "--timeout", "60000"]
        command = [str(self.python), "-m", module, *options]
        return Launch(command, function_environment(start))


MOSEC = Mosec(
    name="mosec",
    title="Mosec",
    form="peer-raw",
    path="/inference",
    package="mosec",
    environment="build/peers-env",
    settings=settings((1, 0), (8, 1), (8, 5), (8, 10)),
)
