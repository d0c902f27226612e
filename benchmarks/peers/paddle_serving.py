"""Paddle Serving 0.9: the plain service of `make faults`, in its own environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

import yaml

from ..bare import ROOT
from ..service import free_ports
from .peer import Launch, Peer, Start, settings

# The name of the op in that script.
SERVICE = "waste"


@dataclass(frozen=True)
class PaddleServing(Peer):
    """Base64 in JSON over its HTTP proxy; processes for its op, as its tutorials advise."""

    def launch(self, start: Start) -> Launch:
        """Write its config.yml and start the script."""
        (rpc_port,) = free_ports(1)
        op: dict[str, object] = {
            "concurrency": start.workers,
            "timeout": 60_000,
            "local_service_conf": {
                "client_type": "local_predictor",
                "model_config": str(start.model.form("pdmodel") / "serving_server"),
                "device_type": 0,
                "devices": "",
                "thread_num": 1,
                "ir_optim": True,
                "use_mkldnn": True,
                "fetch_list": ["prediction"],
            },
        }
        if start.setting.batch_size > 1:
            op |= {
                "batch_size": start.setting.batch_size,
                "auto_batching_timeout": start.setting.wait_ms,
            }
        tree = {
            "http_port": start.port,
            "rpc_port": rpc_port,
            "worker_num": 64,
            "dag": {"is_thread_op": False},
            "op": {SERVICE: op},
        }
        config, pids = start.folder / "config.yml", start.folder / "pids"
        config.write_text(yaml.safe_dump(tree), encoding="utf-8")
        pids.write_text("", encoding="ascii")
        script = ROOT / "reliability" / "faults" / "plain_service.py"
        command = [str(self.python), str(script), str(config), str(pids)]
        return Launch(command, {"SERVING_LOG_PATH": str(start.folder)}, start.folder)


PADDLE_SERVING = PaddleServing(
    name="paddle-serving",
    title="Paddle Serving",
    form="paddle-serving",
    path=f"/{SERVICE}/prediction",
    package="paddle-serving-server",
    environment=os.path.relpath(ROOT / "build" / "paddle-serving-env", ROOT),
    install="make paddle-serving-env",
    runtimes=("paddle",),
    settings=settings((1, 0), (8, 5)),
    note="the Paddle of its own packages; base64 in JSON",
)
