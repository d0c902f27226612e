"""`python -m examples.deployments`: make, serve, compare and measure the deployments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from protocol.console import as_command

from .deployment import ROOT, Deployment, Form, names, read_deployment
from .errors import DeploymentError
from .exporting import Exporter
from .measuring import measure
from .table import Row, keep, kept, markdown, put_into
from .trying import make_bundle, try_service

PAGES = ("docs/deployments.md", "docs/deployments.zh-CN.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen deployments; return 1 if one has wrong results or could not be made."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    exporter = Exporter(options.work.resolve(), options.shared, options.pictures)
    try:
        chosen = [read_deployment(name) for name in options.names or names()]
        rows = []
        for deployment in chosen:
            for form in deployment.forms:
                if not options.forms or form.name in options.forms:
                    rows.append(_run(deployment, form, exporter, options, console))
            if options.discard:
                exporter.discard(deployment)
        if options.write:
            for page in PAGES:
                put_into(ROOT / page, markdown(kept(exporter.work / "rows")))
                console.print(f"wrote {page}")
    except DeploymentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wrong = sum(row.figures.wrong for row in rows if row.figures)
    console.print(f"{len(rows)} exports served; every score as direct inference gives it")
    if wrong:
        print(f"error: {wrong} answers were wrong or missing under load", file=sys.stderr)
    return 1 if wrong else 0


def _run(
    deployment: Deployment,
    form: Form,
    exporter: Exporter,
    options: argparse.Namespace,
    console: Console,
) -> Row:
    title = f"{deployment.name} as {form.name}"
    with console.status("") as status:
        status.update(f"{title}: exporting {deployment.architecture}")
        export = exporter.export(deployment, form)
        images = exporter.images(deployment)
        status.update(f"{title}: direct inference on {len(images)} images")
        expected = exporter.direct_scores(deployment, form, images)
        status.update(f"{title}: converting and verifying")
        bundle = make_bundle(deployment, form, export, images, exporter.work)
        status.update(f"{title}: serving, classifying over HTTP and RPC, evaluating")
        trial = try_service(deployment, bundle, images, expected, exporter.work)
        figures = None
        if options.measure:
            status.update(f"{title}: measuring")
            figures = measure(
                deployment, bundle, images, seconds=options.seconds, rounds=options.rounds
            )
    console.print(
        f"{title}: {trial.images} images, largest difference {trial.http_difference:.1e} over "
        f"HTTP, {trial.rpc_difference:.1e} over RPC"
    )
    if figures:
        console.print(
            f"  {figures.http:.1f} requests/s over HTTP, {figures.rpc:.1f} over RPC; the bare "
            f"limit is {figures.limit:.1f}; {figures.memory_mib:.0f} MiB; ready in "
            f"{figures.start_s:.1f} s"
        )
    row = Row(deployment, form, trial, figures)
    if options.write:
        keep(row, exporter.work / "rows")
    return row


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="examples.deployments", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(names())}")
    add("--forms", nargs="+", choices=["pir", "pdmodel", "onnx"], help="default: all")
    add("--pictures", type=int, default=24, help="most images to compare (default 24)")
    add("--measure", action="store_true", help="also load the services and measure them")
    add("--seconds", type=float, default=6.0, help="of each measurement (default 6)")
    add("--rounds", type=int, default=3, help="of measurements that take turns (default 3)")
    add("--write", action="store_true", help=f"put this and earlier rows into {PAGES[0]}")
    add("--discard", action="store_true", help="keep no model that passed: 2 GB less of disk")
    add("--work", type=Path, default=ROOT / "build/deployments", help="where products are kept")
    shared = os.environ.get("PADDLE_SERVING_KIT_SHARED", ROOT.parent / "shared")
    add("--shared", type=Path, default=Path(shared), help="folder of third-party samples")
    return parser


if __name__ == "__main__":
    sys.exit(as_command(main))
