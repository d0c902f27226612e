"""The process that reads one graph: `python -m converter.reading.reading_process REQUEST`.

It imports what it needs, gives up its rights, reads the graph, and writes one line of JSON:
{"graph": {...}}, {"error": "..."} for what is wrong with the file, {"memory": true} where its
memory did not suffice, or {"unexpected": "..."}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import ConversionError
from .confinement import Limits, confine
from .graph_json import to_json


def main() -> int:
    """Read the graph that the request names; returns the exit code."""
    request = json.loads(sys.argv[1])
    os.chdir(request["cwd"])
    reader = importlib.import_module(f".{request['reader']}", __package__)
    for name in getattr(reader, "PACKAGES", ()):
        with suppress(ImportError):  # the reader reports it
            importlib.import_module(name)
    path = Path(request["path"])
    confine(Limits(request["memory"], request["seconds"]))
    try:
        reply = f'{{"graph": {to_json(reader.read_graph(path), path.parent)}}}'
    except ConversionError as error:
        no_memory = "bad_alloc" in str(error) or _caused_by_memory(error)
        reply = json.dumps({"memory": True} if no_memory else {"error": str(error)})
    except MemoryError:
        reply = '{"memory": true}'
    except Exception as error:  # noqa: BLE001 - a reader's fault is reported, whatever it is
        no_memory = "bad_alloc" in str(error)
        reply = json.dumps({"memory": True} if no_memory else {"unexpected": repr(error)[:300]})
    sys.stdout.write(reply + "\n")
    return 0


def _caused_by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
