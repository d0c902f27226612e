"""The entry: `python pipeline/web_service.py [--config FILE] [-o KEY=VALUE ...] [--check]`.

Reads the configuration, serves it over HTTP and RPC until SIGTERM or Ctrl-C, and drains.
Exit codes: 0 stopped after a drain, or the check passed; 1 it could not be served, or work was cut
off; 2 the call is wrong; 143 a check was stopped by a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):
    # Run as a script: this folder is first on the path and would hide modules of the same name.
    sys.path[0] = str(ROOT)

from pipeline.early_stop import exit_with, stop_at_signals  # noqa: E402
from protocol.console import OutputLost, as_command, print_error  # noqa: E402

if __name__ == "__main__":
    stop_at_signals()  # before the imports, which take a second

from pipeline.check import check_settings  # noqa: E402
from pipeline.engine.engine import EngineStartError  # noqa: E402
from pipeline.hosts.ports import Addresses  # noqa: E402
from pipeline.hosts.standalone import StandaloneHost  # noqa: E402
from pipeline.observation.logs import set_up_logging  # noqa: E402
from pipeline.settings.api_keys import hide_environment  # noqa: E402
from pipeline.settings.config import ServiceSettings, load_settings  # noqa: E402
from pipeline.settings.errors import ConfigError  # noqa: E402
from pipeline.settings.keys import FORMS, LEVELS  # noqa: E402
from pipeline.settings.paths import absolute, working_folder  # noqa: E402
from pipeline.summary import summary  # noqa: E402
from pipeline.version import version  # noqa: E402

STOPPED_CHECK = 143  # as a shell reports a program that SIGTERM ended
_EXAMPLE = "example: python pipeline/web_service.py -o http_port=18081 -o op.waste.topk=3"
_OTHER_COMMANDS = "`python -m pipeline --help` names the commands for a running service."
DEFAULT_CONFIG = ROOT / "configs" / "waste.yml"


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "web_service.py", commands: str = ""
) -> int:
    """Serve, or with --check only try to; return the exit code."""
    options = _parser(prog, commands or _OTHER_COMMANDS).parse_args(arguments)
    overrides = [*options.override, *_log_overrides(options)]
    log = None
    hide_environment()  # before a process is started that would inherit it
    # A core dump would hold images and the keys of TLS.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        settings, load = _settings(options.config, overrides)
        log = set_up_logging(settings.log.level, settings.log.form)
        if settings.warning:
            logging.getLogger("pipeline").warning("%s", settings.warning)
        if options.check:
            exit_with(STOPPED_CHECK)
            return _run(check_settings(settings))
        return _run(_serve(settings, load))
    except (ConfigError, EngineStartError) as error:
        if log is not None:
            log.close()  # writes what led to the error first
        print_error(str(error))
        return 1


def _settings(
    config: Path, overrides: Sequence[str]
) -> tuple[ServiceSettings, Callable[[], ServiceSettings]]:
    """Return the settings of the file `config`, and a function that reads them again.

    Raises:
        ConfigError: see `load_settings`.
    """
    working = working_folder()
    if working is None and not config.is_absolute():
        raise ConfigError(
            f"{config}: the working folder does not exist any more; change to another folder, or "
            "give --config from the root on"
        )
    settings = load_settings(config, overrides, working=working)
    path = absolute(config, working)
    keys = settings.in_working_folder

    def load() -> ServiceSettings:
        # The links in these names are followed anew, so that a release may be switched by a link.
        return load_settings(path, overrides, working=working, working_keys=keys)

    return settings, load


async def _serve(settings: ServiceSettings, load: Callable[[], ServiceSettings]) -> int:
    host = StandaloneHost(settings, load)

    def on_ready(addresses: Addresses, seconds: float) -> None:
        headline = f"paddle-serving-kit {version()}, ready in {seconds:.1f} s"
        try:
            print(summary(settings, host.engines, addresses, headline), flush=True)
        except (OSError, ValueError, OutputLost) as error:  # a full disk is no reason not to serve
            logging.getLogger("pipeline").warning("cannot print that it is ready: %s", error)

    return await host.run(on_ready)


def _log_overrides(options: argparse.Namespace) -> list[str]:
    chosen = {"log.level": options.log_level, "log.format": options.log_format}
    return [f"{key}={value}" for key, value in chosen.items() if value is not None]


def _run(main_task: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where there is one; it halves the service process's share of the CPU."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main_task)
    return uvloop.run(main_task)


def _parser(prog: str, commands: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve exported image classifiers over HTTP and RPC.",
        epilog=f"{commands}\n\n{_EXAMPLE}",
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
        choices=LEVELS,
        help="how much to log on stderr: info has a line a request (default: warning)",
    )
    parser.add_argument(
        "--log-format",
        choices=FORMS,
        help="human, or json: one object a line (default: human)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(as_command(main))
