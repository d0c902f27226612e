"""`python -m benchmarks models`: runtime x precision x batch of several bundles, with agreement.

`converter tune` measures each bundle; its figures are kept in `build/models`, so that bundles of
separate runs come into one table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from .bare import ROOT
from .peers.table import RUNTIMES, put_into

BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
PAGES = ("docs/performance.md", "docs/performance.zh-CN.md")
EMBEDDED = ROOT / "serving_model" / "waste"
TITLES = RUNTIMES | {"openvino": "OpenVINO"}
BATCHES = (1, 8)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `models` with its options."""
    parser = commands.add_parser("models", help="runtimes, precisions and batches of the models")
    add = parser.add_argument
    add("bundles", nargs="*", type=Path, help="default: the embedded one and build/deployments'")
    add("--folder", type=Path, default=ROOT / "build/deployments/bundles")
    add("--images", type=Path, default=ROOT / "examples/images")
    add("--time", type=float, default=60.0, help="seconds for each bundle (default 60)")
    add("--show", action="store_true", help="measure nothing; show what is kept")
    add("--write", action="store_true", help=f"put the table into {PAGES[0]}")
    add("--work", type=Path, default=ROOT / "build/models", help="where figures are kept")
    parser.set_defaults(measure=main)


def main(options: argparse.Namespace) -> int:
    """Measure the bundles, show the table and write it; return 1 if one could not be measured."""
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    options.work.mkdir(parents=True, exist_ok=True)
    failed = 0
    for bundle in [] if options.show else options.bundles or found_bundles(options.folder):
        with console.status(f"{bundle.name}: converter tune, {options.time:.0f} s and more"):
            reason = _measure(bundle, options)
        console.print(f"{bundle.name}: {reason or 'measured'}")
        failed += bool(reason)
    kept = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(options.work.glob("*.json"))
    }
    if not kept:
        raise SystemExit(f"error: {options.work} holds no figures; run without --show first")
    table = markdown(kept)
    print(table)
    if options.write:
        for page in PAGES:
            put_into(ROOT / page, table, BEGIN, END)
            console.print(f"wrote {page}")
    return 1 if failed else 0


def markdown(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of what `converter tune --json` printed for each model.

    A row for each runtime, form and precision: images/s in batches of 1 and of 8, the latter's
    ratio to Paddle's best of the two, ms alone, memory, and agreement with the export.
    """
    head = ["model", "runtime", "form", "precision"]
    head += [f"images/s, batch {size}" for size in BATCHES]
    head += ["of Paddle", "alone ms", "MiB", "largest difference", "same best class"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, tuned in models.items():
        rows = _by_runtime(tuned["candidates"])
        base = max(
            (_best(r) for k, r in rows.items() if k[:3] == ("paddle", "export", "fp32")),
            default=0.0,
        )
        for key, sizes in rows.items():
            lines.append(f"| {name} | {' | '.join(_cells(key, sizes, base))} |")
    return "\n".join(lines) + "\n"


def _by_runtime(
    candidates: Iterable[Mapping[str, Any]],
) -> dict[tuple[str, str, str], dict[int, Any]]:
    """Return the candidates of one thread a worker, by runtime, form and precision, then batch."""
    found: dict[tuple[str, str, str], dict[int, Any]] = {}
    for row in candidates:
        if row["threads"] == 1 and not row["fast_decode"]:
            key = (row["backend"], row["form"], row["precision"])
            found.setdefault(key, {})[row["batch_size"]] = row
    return found


def _best(sizes: Mapping[int, Mapping[str, Any]]) -> float:
    return max((sizes[s]["images_per_s"] or 0.0 for s in BATCHES if s in sizes), default=0.0)


def _cells(
    key: tuple[str, str, str], sizes: Mapping[int, Mapping[str, Any]], base: float
) -> list[str]:
    backend, form, precision = key
    some = next(iter(sizes.values()))
    cells = [TITLES.get(backend, backend), form, precision]
    if reason := next((row["error"] for row in sizes.values() if row["error"]), ""):
        return [*cells, *["-"] * 5, reason.replace("|", "/"), "-"]
    rates = [sizes[s]["images_per_s"] if s in sizes else None for s in BATCHES]
    cells += [f"{rate:.1f}" if rate else "-" for rate in rates]
    best = _best(sizes)
    cells.append(f"{best / base:.2f}" if base and best else "-")
    cells += [f"{some[name]:.0f}" if some[name] else "-" for name in ("alone_ms", "memory_mib")]
    found = some["agreement"]
    if found is None or found["largest_difference"] is None:
        return [*cells, "-", some["refused"].replace("|", "/") or "-"]
    same = f"{found['same_best']} of {found['images']}"
    return [*cells, f"{found['largest_difference']:.1e}", same]


def found_bundles(folder: Path) -> list[Path]:
    """Return the embedded bundle and the first form of each deployment in `folder`."""
    found: dict[str, Path] = {}
    for bundle in sorted(folder.glob("*-*"), reverse=True):
        if (bundle / "bundle.yml").is_file():
            found[bundle.name.rpartition("-")[0]] = bundle
    return [EMBEDDED, *(found[name] for name in sorted(found))]


def _measure(bundle: Path, options: argparse.Namespace) -> str:
    """Write `converter tune`'s figures; return why there are none."""
    command = [sys.executable, "-m", "converter", "tune", str(bundle.resolve()), "--json"]
    command += ["--apply", "no", "--time", f"{options.time:g}", "--images", str(options.images)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return f"converter tune ended with {done.returncode}; its message is above"
    target = options.work / f"{bundle.name}.json"
    target.write_text(done.stdout, encoding="utf-8")
    return ""
