"""The table of docs/performance.md, and the one that a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from .catalogue import PEERS
from .models import TITLES
from .records import Row

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
RUNTIMES = {"paddle": "Paddle", "onnxruntime": "ONNX Runtime"}


def markdown(rows: Sequence[Row], connections: Sequence[int]) -> str:
    """Return the table; requests a second, and in brackets how many times as many this kit does."""
    head = ["model", "runtime", "service", *map(str, connections), "p99 ms", "MiB", "batches"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [_title(row.model), RUNTIMES.get(row.runtime, row.runtime), _name(row)]
        if not row.cells:
            cells += ["-"] * (len(connections) + 2) + [row.reason.replace("|", "/")]
        else:
            cells += [_cell(row, number) for number in connections]
            most = row.cells.get(max(connections))
            cells += [f"{most.p99_ms:.0f}" if most else "-", f"{row.memory_mib:.0f}", row.setting]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def console_table(rows: Sequence[Row], connections: Sequence[int]) -> Table:
    """Return the same for a terminal."""
    table = Table(title="requests/s on N connections (x: this kit does so many times as many)")
    for name in ("model", "runtime", "service"):
        table.add_column(name)
    for name in (*map(str, connections), "p99 ms", "MiB", "wrong", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("batches, or why not")
    for row in rows:
        most = row.cells.get(max(connections))
        table.add_row(
            row.model,
            row.runtime,
            _name(row).strip("*"),
            *(_cell(row, number) for number in connections),
            f"{most.p99_ms:.0f}" if most else "-",
            f"{row.memory_mib:.0f}",
            str(row.wrong),
            str(row.failed),
            row.reason if not row.cells else row.setting,
        )
    return table


def put_into(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between the markers of `page`.

    Raises:
        SystemExit: the page has no markers.
    """
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"error: {page} has no lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def _cell(row: Row, connections: int) -> str:
    cell = row.cells.get(connections)
    if cell is None:
        return "-"
    own = PEERS[row.peer].own if row.peer in PEERS else False
    ratio = "" if own or not cell.ours else f" (x{cell.ours:.2f})"
    return f"{cell.requests_per_s:.1f}{ratio}"


def _name(row: Row) -> str:
    title = PEERS[row.peer].title if row.peer in PEERS else row.peer
    return f"{title} {row.version}".strip()


def _title(model: str) -> str:
    return TITLES.get(model, model)
