"""The process that reads one graph: `python -m converter.reading.reading_process REQUEST`.

It imports what it needs, gives up its rights, reads the graph, and writes one line of JSON:
{"graph": {...}}, {"error": "..."} for what is wrong with the file or with a package that it needs,
{"memory": BYTES} where these did not suffice, or {"unexpected": "..."}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from ..errors import ConversionError
from .confinement import Limits, confine, mapped_bytes
from .graph_json import to_json


def main() -> int:
    """Read the graph that the request names; returns the exit code."""
    request = json.loads(sys.argv[1])
    os.chdir(request["cwd"])
    reader = importlib.import_module(f".{request['reader']}", __package__)
    path = Path(request["path"])
    for name in getattr(reader, "PACKAGES", ()):
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # the reader reports it
        except Exception as error:  # noqa: BLE001 - nothing of the file was read yet
            broken = f"{path}: reading it needs {name}, which cannot be imported ({error!r:.300})"
            print(json.dumps({"error": f"{broken}; install it again"}))
            return 0
    memory, before = confine(Limits(request["memory"], request["seconds"])), mapped_bytes()
    no_memory = json.dumps({"memory": memory})
    try:
        reply = f'{{"graph": {to_json(reader.read_graph(path), path.parent)}}}'
    except ConversionError as error:
        left = memory - (mapped_bytes() - before)  # protobuf calls a file damaged without memory
        short = _caused_by_memory(error) or left < path.stat().st_size
        reply = no_memory if short else json.dumps({"error": str(error)})
    except MemoryError:
        reply = no_memory
    except Exception as error:  # noqa: BLE001 - a reader's fault is reported, whatever it is
        short = "bad_alloc" in str(error)
        reply = no_memory if short else json.dumps({"unexpected": repr(error)[:300]})
    sys.stdout.write(reply + "\n")
    return 0


def _caused_by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
