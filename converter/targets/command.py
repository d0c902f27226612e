"""`python -m converter export`: a bundle for other runtimes than Paddle's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocol.escaping import escaped_line

from ..checking.images import shown
from ..checking.terminal import terminal
from .lite_target import write_lite
from .onnx_target import write_onnx
from .target import DEFAULT_TOLERANCE, TargetOptions, TargetResult, megabytes

_TARGETS = {"onnx": write_onnx, "paddle-lite": write_lite}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the converter's."""
    command = commands.add_parser("export", help="a bundle becomes ONNX, or a model for ARM phones")
    command.set_defaults(run=run)
    command.add_argument("bundle_dir", type=Path, metavar="bundle", help="serving_model/NAME")
    command.add_argument("--to", required=True, choices=tuple(_TARGETS), help="the format")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    command.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="images, or folders of them, to compare with; default: generated ones",
    )
    command.add_argument(
        "--tolerance",
        type=tolerance,
        default=DEFAULT_TOLERANCE,
        metavar="X",
        help="the largest difference that is accepted, as a part of the largest score"
        f" (default {DEFAULT_TOLERANCE:g})",
    )
    command.add_argument("--force", action="store_true", help="replace an earlier output")


def run(options: argparse.Namespace) -> None:
    """Write the target, and print what was written.

    Raises:
        ConversionError, BundleError: one line says what is wrong; nothing was written.
    """
    result = _TARGETS[options.to](
        TargetOptions(
            bundle_dir=options.bundle_dir,
            output=options.output,
            images=tuple(options.images),
            tolerance=options.tolerance,
            force=options.force,
        ),
        _say,
    )
    _print_report(result, terminal())


def tolerance(text: str) -> float:
    """Return the largest difference that is accepted, of an option: no `nan`, nothing below 0."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0 upwards, not {text}")
    return value


def _say(step: str) -> None:
    # on stderr: the report alone is the command's output
    sys.stderr.write(f"{escaped_line(step)} ...\n")
    sys.stderr.flush()


def _print_report(result: TargetResult, console: Console) -> None:
    console.print(Text(f"export {result.output}", style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, meaning in result.files.items():
        file = result.output / name
        size = f", {megabytes(file)}" if file.suffix in (".nb", ".onnx") else ""
        table.add_row(Text(name), Text(f"{meaning}{size}"))
    found = result.agreement
    table.add_row("compared", f"{found.runtime} with {found.reference}, {found.images} images")
    table.add_row(
        "difference",
        Text(
            f"{found.difference:.2g} at most; the same best class in"
            f" {found.same_best} of {found.images}",
            style="green" if found.same_best == found.images else "yellow",
        ),
    )
    notes = list(result.notes)
    if found.unreadable:
        notes.append(f"{len(found.unreadable)} unreadable, and left out: {shown(found.unreadable)}")
    if not found.distinguishes:
        notes.append(
            "the best class is the same for all these images, so the comparison shows little; give"
            " --images with images of your own"
        )
    for note in notes:
        table.add_row("note", Text(note, style="yellow"))
    console.print(table)
