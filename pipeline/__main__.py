"""`python -m pipeline`: the same as `python pipeline/web_service.py`; `... status` shows one."""

from __future__ import annotations

import sys

from protocol.console import as_command

from .early_stop import stop_at_signals


def main(arguments: list[str]) -> int:
    """Run the command that `arguments` begin with; return the exit code."""
    if arguments[:1] == ["status"]:
        # Imports nothing of the service, so that it starts at once.
        from .status_command import main as status

        return status(arguments[1:])
    stop_at_signals()  # before the imports, which take a second
    from .web_service import main as serve

    return serve(arguments[1:] if arguments[:1] == ["serve"] else arguments)


if __name__ == "__main__":
    sys.exit(as_command(lambda: main(sys.argv[1:])))
