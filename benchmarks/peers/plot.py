"""The table drawn as SVG: a panel for each model and runtime, a bar for each service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from .catalogue import PEERS
from .models import TITLES
from .records import Row
from .table import RUNTIMES

COLOURS = ("#0b6e4f", "#5b8def", "#f2a541", "#9b6bd3", "#d9534f", "#6c757d", "#2f4858")
WIDTH, PANEL_HEIGHT, LEFT, TOP, BOTTOM = 860, 190, 46, 34, 26


def svg(rows: Sequence[Row], connections: Sequence[int]) -> str:
    """Return the drawing: requests a second, groups by number of connections."""
    panels = list(dict.fromkeys((row.model, row.runtime) for row in rows if row.cells))
    peers = list(dict.fromkeys(row.peer for row in rows if row.cells))
    colours = {peer: COLOURS[number % len(COLOURS)] for number, peer in enumerate(peers)}
    height = 30 + len(panels) * PANEL_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_legend(peers, colours),
    ]
    for number, panel in enumerate(panels):
        some = [row for row in rows if (row.model, row.runtime) == panel and row.cells]
        parts += _panel(some, connections, colours, 30 + number * PANEL_HEIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"


def write(rows: Sequence[Row], connections: Sequence[int], path: Path) -> None:
    """Write the drawing to a file.

    Raises:
        SystemExit: its name does not end with .svg, or nothing was measured.
    """
    if path.suffix.lower() != ".svg":
        raise SystemExit(f"error: --plot writes SVG; name the file {path.with_suffix('.svg')}")
    if not any(row.cells for row in rows):
        raise SystemExit("error: nothing was measured, so there is nothing to plot")
    path.write_text(svg(rows, connections), encoding="utf-8")


def _legend(peers: Sequence[str], colours: dict[str, str]) -> list[str]:
    parts, x = [], LEFT
    for peer in peers:
        title = PEERS[peer].title.strip("*") if peer in PEERS else peer
        parts.append(f'<rect x="{x}" y="9" width="11" height="11" fill="{colours[peer]}"/>')
        parts.append(f'<text x="{x + 15}" y="19">{escape(title)}</text>')
        x += 32 + 7 * len(title)
    return parts


def _panel(
    rows: Sequence[Row], connections: Sequence[int], colours: dict[str, str], top: int
) -> list[str]:
    model, runtime = rows[0].model, rows[0].runtime
    most = max(cell.requests_per_s for row in rows for cell in row.cells.values())
    base, room = top + PANEL_HEIGHT - BOTTOM, PANEL_HEIGHT - TOP - BOTTOM
    title = f"{TITLES.get(model, model)}, {RUNTIMES.get(runtime, runtime)}: requests/s"
    parts = [
        f'<text x="{LEFT}" y="{top + 18}" font-weight="bold">{escape(title)}</text>',
        f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - 10}" y2="{base}" stroke="#888"/>',
    ]
    group = (WIDTH - LEFT - 10) / len(connections)
    bar = min(26.0, (group - 14) / max(1, len(rows)))
    for number, count in enumerate(connections):
        left = LEFT + number * group + 7
        label = f"{count} connection" + ("s" if count > 1 else "")
        parts.append(f'<text x="{left:.1f}" y="{base + 15}">{label}</text>')
        for place, row in enumerate(rows):
            if cell := row.cells.get(count):
                x, tall = left + place * bar, room * cell.requests_per_s / most
                parts.append(
                    f'<rect x="{x:.1f}" y="{base - tall:.1f}" width="{bar - 2:.1f}" '
                    f'height="{tall:.1f}" fill="{colours[row.peer]}"/>'
                )
                parts.append(
                    f'<text x="{x:.1f}" y="{base - tall - 3:.1f}" font-size="9">'
                    f"{cell.requests_per_s:.0f}</text>"
                )
    return parts
