"""The entry: `python pipeline/web_service.py [--config FILE] [-o KEY=VALUE ...] [--check]`.

Reads the configuration, serves it over HTTP and RPC until SIGTERM or Ctrl-C, and drains.
Exit codes: 0 stopped after a drain, or the check passed; 1 it could not be served, or work was cut
off; 2 the call is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import logging
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):
    # Run as a script: this folder is first on the path and would hide what has the same name.
    sys.path[0] = str(ROOT)

from pipeline.check import check_settings  # noqa: E402
from pipeline.config import ConfigError, ServiceSettings, load_settings  # noqa: E402
from pipeline.engine.engine import EngineStartError  # noqa: E402
from pipeline.hosts.standalone import Addresses, StandaloneHost  # noqa: E402
from pipeline.summary import summary  # noqa: E402

DEFAULT_CONFIG = ROOT / "configs" / "waste.yml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or with --check only try to; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        settings = load_settings(options.config, options.override)
        if settings.warning:
            logging.getLogger("pipeline").warning("%s", settings.warning)
        run = check_settings(settings) if options.check else _serve(settings)
        return _run(run)
    except (ConfigError, EngineStartError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _serve(settings: ServiceSettings) -> int:
    host = StandaloneHost(settings)

    def on_ready(addresses: Addresses, seconds: float) -> None:
        headline = f"paddle-serving-kit {version()}, ready in {seconds:.1f} s"
        print(
            summary(settings, host.engines, addresses.http_port, addresses.rpc_port, headline),
            flush=True,
        )

    return await host.run(on_ready)


def version() -> str:
    """Return the version of the installed distribution, or "(not installed)"."""
    try:
        return importlib.metadata.version("paddle-serving-kit")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _run(main_task: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where there is one; it halves the service process's share of the CPU."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main_task)
    return uvloop.run(main_task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="web_service.py",
        description="Serve exported image classifiers over HTTP and RPC.",
        epilog="Example: python pipeline/web_service.py -o http_port=18081 -o op.waste.topk=3",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        help="config.yml (default: configs/waste.yml)",
    )
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key of the configuration, for example op.waste.concurrency=4; repeatable",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="validate everything, predict once, print what would be served, and exit",
    )
    parser.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="how much to log on stderr (default: warning)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
