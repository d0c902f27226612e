"""This project's service, started as its users start it."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from ..service import free_ports
from .peer import Launch, Peer, Start

SERVICE = "classify"


@dataclass(frozen=True)
class OwnService(Peer):
    """Raw images; nothing of its configuration is tuned by hand."""

    def launch(self, start: Start) -> Launch:
        """Write a config.yml and start the service."""
        rpc_port, admin_port = free_ports(2)
        op = {
            "concurrency": start.workers,
            "timeout": 60_000,
            "local_service_conf": {
                "client_type": "local_predictor",
                "model_config": str(start.model.form(start.runtime)),
                "backend": start.runtime,
                "devices": "",
                "thread_num": 1,
                "fetch_list": ["prediction"],
            },
        }
        tree = {
            "host": "127.0.0.1",
            "http_port": start.port,
            "rpc_port": rpc_port,
            "admin": {"port": admin_port},
            "op": {SERVICE: op},
        }
        config = start.folder / "config.yml"
        config.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return Launch([str(self.python), "pipeline/web_service.py", "--config", str(config)])


OWN = OwnService(
    name="kit",
    title="**this kit**",
    form="raw",
    path=f"/{SERVICE}/prediction",
    package="paddle-serving-kit",
    own=True,
)
