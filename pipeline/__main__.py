"""`python -m pipeline`: serves, as `python pipeline/web_service.py`; `status` and `reload`."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

from protocol.console import as_command

from .early_stop import stop_at_signals


class _Command(NamedTuple):
    module: str  # imported only when it is run, so that each starts at once
    what: str


_SERVE = "serve"
_COMMANDS = {
    _SERVE: _Command("web_service", "serve; the same without a command, with the options above"),
    "status": _Command("status_command", "what a running service serves, its workers, its rates"),
    "reload": _Command("reload_command", "configuration and bundles anew, without a pause"),
}
_WRONG_CALL = 2


def main(arguments: list[str]) -> int:
    """Run the command that `arguments` begin with; return the exit code."""
    first = arguments[0] if arguments else ""
    if first in _COMMANDS and first != _SERVE:
        command = importlib.import_module(f".{_COMMANDS[first].module}", __package__)
        return int(command.main(arguments[1:]))
    if first and not first.startswith("-") and first != _SERVE:
        known = ", ".join(_COMMANDS)
        print(f"error: there is no command {first!r}; there are {known}", file=sys.stderr)
        return _WRONG_CALL
    stop_at_signals()  # before the imports, which take a second
    from .web_service import main as serve

    return serve(
        arguments[1:] if first == _SERVE else arguments,
        prog="python -m pipeline",
        commands="\n".join(
            ["commands:", *(f"  {name:<8} {command.what}" for name, command in _COMMANDS.items())]
        ),
    )


if __name__ == "__main__":
    sys.exit(as_command(lambda: main(sys.argv[1:])))
