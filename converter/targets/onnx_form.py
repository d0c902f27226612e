"""The ONNX form of a bundle: `serving_server/onnx/`, made of its export and compared with it.

The export stays as it came. Runtimes that are faster on many CPUs read ONNX, and a service with it
needs no Paddle.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bundle import Bundle
from bundle.forms import ONNX_FORM, form_folder
from protocol.escaping import escaped_line

from ..bundling.record import record_form
from ..checking.comparison import Agreement
from ..errors import ConversionError
from .onnx_target import MODEL, check_packages, missing_packages, paddle2onnx_version, translated
from .target import DEFAULT_TOLERANCE, Say, open_source

COMMAND = "add-onnx"
_IS_ONNX = "is ONNX already; every runtime for ONNX serves it as it is"


@dataclass(frozen=True)
class MadeForm:
    """What was made: the graph's file, and how near its scores are to the export's."""

    file: Path
    agreement: Agreement

    def __str__(self) -> str:
        """Return it in one line for people."""
        found = self.agreement
        size = f"{self.file.stat().st_size / 1e6:.1f} MB"
        return (
            f"{self.file}, {size}; {found.runtime} differs from {found.reference} by"
            f" {found.difference:.2g} at most, over {found.images} images"
        )


def add_onnx(
    bundle_dir: Path,
    say: Say,
    images: Sequence[Path] = (),
    tolerance: float = DEFAULT_TOLERANCE,
) -> MadeForm:
    """Make the ONNX form of a bundle, compare it with the export, and put it into the bundle.

    It replaces an earlier one. `images` are compared, or drawn ones; `tolerance` is the largest
    difference of a score, relative to the largest.

    Raises:
        ConversionError: the model cannot be expressed, or answers otherwise; the bundle is as it
            was.
        BundleError: the bundle is incomplete or damaged.
    """
    source = open_source(bundle_dir, of_onnx=_IS_ONNX)
    check_packages()
    bundle = source.bundle
    with _beside(bundle.server_dir) as staging:
        agreement = translated(source, staging / MODEL, bundle.server_dir, images, tolerance, say)
        folder = form_folder(bundle.server_dir, ONNX_FORM)
        _put(staging, folder)
        facts = {
            "made_by": f"paddle2onnx {paddle2onnx_version()}",
            "compared_with": agreement.reference,
            "compared_in": agreement.runtime,
            "images": agreement.images,
            "largest_difference": float(f"{agreement.difference:.3g}"),
        }
        record_form(bundle.path, ONNX_FORM, folder, facts)
    return MadeForm(folder / MODEL, agreement)


def made_or_why_not(bundle: Bundle, say: Say) -> str:
    """Make the ONNX form of a bundle that was just converted; return why not, "" if it was made.

    An ONNX export needs none.
    """
    if not bundle.graph_format.paddle:
        return ""
    again = f"python -m converter {COMMAND} {bundle.path}"
    if missing := missing_packages():
        return f"not made, for {missing}; then `{again}` makes it"
    try:
        add_onnx(bundle.path, say)
    except ConversionError as error:
        return f"not made: {error}"
    return ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the converter's."""
    command = commands.add_parser(
        COMMAND, help="add the graph as ONNX to a bundle, for runtimes that are faster on many CPUs"
    )
    command.set_defaults(run=_run)
    command.add_argument("bundle_dir", type=Path, metavar="bundle", help="serving_model/NAME")
    command.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="images, or folders of them, to compare with; default: generated ones",
    )


def say(step: str) -> None:
    """Print a step that takes seconds; on stderr, for what was made is the command's output."""
    sys.stderr.write(f"{escaped_line(step)} ...\n")
    sys.stderr.flush()


def _run(options: argparse.Namespace) -> None:
    made = add_onnx(options.bundle_dir, say, tuple(options.images))
    sys.stdout.write(f"{escaped_line(str(made))}\n")


@contextmanager
def _beside(server_dir: Path) -> Iterator[Path]:
    """Yield a new folder on the disk of the bundle.

    Raises:
        ConversionError: it cannot be written.
    """
    try:
        workspace = Path(tempfile.mkdtemp(prefix=".onnx-", dir=server_dir.parent))
    except OSError as error:
        raise _unwritable(server_dir, error) from error
    try:
        # a folder within, for mkdtemp's own is readable by its owner only
        staging = workspace / "new"
        staging.mkdir()
        yield staging
    except OSError as error:
        raise _unwritable(server_dir, error) from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _put(staging: Path, folder: Path) -> None:
    """Put the new form in the place of the old one, which comes back where that fails."""
    old = staging.with_name("old")
    if folder.exists():
        folder.rename(old)
    try:
        staging.rename(folder)
    except BaseException:  # an interrupt too must not lose the form that was
        with suppress(OSError):
            old.rename(folder)
        raise


def _unwritable(server_dir: Path, error: OSError) -> ConversionError:
    return ConversionError(
        f"{server_dir}: cannot be written ({error.strerror or error}); the bundle is as it was"
    )
