"""Ray Serve: `servers/ray_serve_app.py`, a deployment with `serve.batch`."""

from __future__ import annotations

from dataclasses import dataclass

from ..bare import ROOT
from .peer import Launch, Peer, Start, function_environment, settings


@dataclass(frozen=True)
class RayServe(Peer):
    """Raw images; replicas behind Ray's proxy, on a cluster of this machine alone."""

    def launch(self, start: Start) -> Launch:
        """Run the application's file."""
        command = [str(self.python), "-m", "benchmarks.peers.servers.ray_serve_app"]
        own = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "150",
            # Replicas import the function too, and their folder is another one.
            "PYTHONPATH": str(ROOT),
        }
        return Launch(command, {**function_environment(start), **own})


RAY_SERVE = RayServe(
    name="ray",
    title="Ray Serve",
    form="peer-raw",
    path="/",
    package="ray",
    environment="build/peers-env",
    settings=settings((1, 0), (8, 0), (8, 5)),
)
