"""The tables of docs/deployments.md, between its markers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .deployment import Deployment, Form, names, read_deployment
from .errors import DeploymentError
from .measuring import Figures
from .trying import Trial

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
FORM_FILES = {"pir": "inference.json", "pdmodel": ".pdmodel", "onnx": ".onnx"}


@dataclass(frozen=True)
class Row:
    """One form of one deployment: its differences, and its figures if it was measured."""

    deployment: Deployment
    form: Form
    trial: Trial
    figures: Figures | None


def keep(row: Row, folder: Path) -> None:
    """Write the row to a file, so that deployments of separate runs come into one table."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "deployment": row.deployment.name,
        "form": row.form.name,
        "trial": {**asdict(row.trial), "bundle": str(row.trial.bundle)},
        "figures": asdict(row.figures) if row.figures else None,
    }
    file = folder / f"{row.deployment.name}-{row.form.name}.json"
    file.write_text(json.dumps(fields), encoding="utf-8")


def kept(folder: Path) -> list[Row]:
    """Return the rows of all files, in the order of the deployments and their forms."""
    rows = []
    for deployment in map(read_deployment, names()):
        for form in deployment.forms:
            file = folder / f"{deployment.name}-{form.name}.json"
            if not file.is_file():
                continue
            fields = json.loads(file.read_text(encoding="utf-8"))
            trial = Trial(**{**fields["trial"], "bundle": Path(fields["trial"]["bundle"])})
            try:
                figures = Figures(**fields["figures"]) if fields["figures"] else None
            except TypeError:
                continue  # written by an older version with other fields
            rows.append(Row(deployment, form, trial, figures))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Return the tables: scores of all rows, figures of those that were measured."""
    lines = [
        "| deployment | network | export | images | largest difference, HTTP | RPC |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        trial = row.trial
        lines.append(
            f"| {row.deployment.name} | {row.deployment.architecture}, {row.deployment.size} px "
            f"| {FORM_FILES[row.form.name]} | {trial.images} "
            f"| {trial.http_difference:.1e} | {trial.rpc_difference:.1e} |"
        )
    measured = [(row, row.figures) for row in rows if row.figures]
    if not measured:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "| deployment | export | one by one/s | bare limit/s | HTTP/s | RPC/s | HTTP of limit "
        "| alone ms | p50 ms | p99 ms | memory MiB | bundle MiB | start s |",
        "|---" * 13 + "|",
    ]
    for row, figures in measured:
        numbers = (
            f"{figures.single:.1f}",
            f"{figures.limit:.1f}",
            f"{figures.http:.1f}",
            f"{figures.rpc:.1f}",
            f"{figures.http / figures.limit:.2f}",
            f"{figures.alone_ms:.0f}",
            f"{figures.p50_ms:.0f}",
            f"{figures.p99_ms:.0f}",
            f"{figures.memory_mib:.0f}",
            f"{figures.bundle_mib:.0f}",
            f"{figures.start_s:.1f}",
        )
        lines.append(
            f"| {row.deployment.name} | {FORM_FILES[row.form.name]} | {' | '.join(numbers)} |"
        )
    return "\n".join(lines) + "\n"


def put_into(page: Path, tables: str) -> None:
    """Replace what stands between the markers of `page`.

    Raises:
        DeploymentError: the page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DeploymentError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", encoding="utf-8")
