"""One way to serve a bundle with this kit, up and paused until it is its turn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from pipeline.engine.family import family

from ..bare import ROOT
from ..load import Order, Outcome
from ..service import HOST, RunningService, run_service

SERVICE = "classify"
# For the replies to the last requests.
_GRACE_S = 120.0


@dataclass(frozen=True)
class Contender:
    """A bundle, as it is served without a word in config.yml or with some keys of its op."""

    name: str
    bundle: Path
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What is sent: in which form ("raw", "http", "rpc") over how many connections."""

    protocol: str
    connections: int


@dataclass(frozen=True)
class Images:
    """The images that are sent, with the right scores of each."""

    files: list[Path]
    scores: list[list[float]]


@dataclass(frozen=True)
class Standing:
    """A contender that is up."""

    contender: Contender
    service: RunningService

    def pause(self) -> None:
        """Stop its processes, so that it takes nothing from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def send(self, load: Load, images: Images, seconds: float) -> Outcome:
        """Load the service in its turn and return what was measured.

        Raises:
            SystemExit: the load generator failed.
        """
        rpc = load.protocol == "rpc"
        order = Order(
            protocol=load.protocol,
            host=HOST,
            port=self.service.rpc_port if rpc else self.service.http_port,
            http_port=0,
            service=SERVICE,
            connections=load.connections,
            seconds=seconds,
            images=[str(file) for file in images.files],
            scores=images.scores,
            tolerance=1e-3,  # runtimes differ more than batches of one runtime
        )
        self.resume()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.load"],
                cwd=ROOT,
                input=json.dumps(asdict(order)),
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + _GRACE_S,
            )
        finally:
            self.pause()
        if done.returncode != 0:
            raise SystemExit(f"error: the load generator failed:\n{done.stderr}")
        return Outcome(**json.loads(done.stdout))

    def _signal(self, number: signal.Signals) -> None:
        for process_id in family(self.service.process_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, number)


@contextlib.contextmanager
def standing(
    contenders: Sequence[Contender], work: Path, images: Images, warm_s: float = 1.0
) -> Iterator[dict[str, Standing]]:
    """Start and warm all of them, and yield them paused, by name.

    Raises:
        SystemExit: one did not become ready.
    """
    with contextlib.ExitStack() as stack:
        up: dict[str, Standing] = {}
        for contender in contenders:
            config = _config(contender, work)
            log = stack.enter_context(config.with_suffix(".log").open("w", encoding="utf-8"))
            service = stack.enter_context(run_service(config, contender.overrides, log))
            one = Standing(contender, service)
            stack.callback(one.resume)  # what is stopped cannot end
            up[contender.name] = one
            one.send(Load("raw", 16), images, warm_s)
        yield up


def _config(contender: Contender, work: Path) -> Path:
    op = {
        "timeout": 60_000,
        "local_service_conf": {
            "client_type": "local_predictor",
            "model_config": str(contender.bundle),
            "devices": "",
            "fetch_list": ["prediction"],
        },
    }
    tree = {"http_port": 1, "rpc_port": 2, "op": {SERVICE: op}}
    work.mkdir(parents=True, exist_ok=True)
    config = work / f"{contender.name}.yml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return config
