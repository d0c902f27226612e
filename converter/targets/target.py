"""What every target shares: the bundle it starts from, its options, its result, its steps."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle import Bundle, load_bundle

from ..bundling.output_folder import check_output
from ..checking.comparison import Agreement
from ..errors import ConversionError
from ..reading.exported_model import ExportedModel, read_export

# Scores of fp32 runtimes differ by less than 1e-5; a wrong conversion by 1e-2 and more.
DEFAULT_TOLERANCE = 1e-4
# A translation takes seconds; what takes this long hangs.
STEP_TIMEOUT_S = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class TargetOptions:
    """What a target is given.

    Attributes:
        bundle_dir: serving_model/NAME.
        output: the folder to be written.
        images: images, or folders of them, to compare with; none: drawn ones.
        tolerance: the largest difference of a score that is accepted, relative to the largest.
        force: replace an existing target.
    """

    bundle_dir: Path
    output: Path
    images: tuple[Path, ...] = ()
    tolerance: float = DEFAULT_TOLERANCE
    force: bool = False


@dataclass(frozen=True)
class TargetResult:
    """What was written: file name -> what it is, and what a user should know besides."""

    output: Path
    files: Mapping[str, str]
    agreement: Agreement
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Source:
    """A bundle to make a target of, read and checked."""

    bundle: Bundle
    model: ExportedModel

    @property
    def name(self) -> str:
        """The bundle's name, in characters that every file system and config.txt take."""
        return re.sub(r"\s+", "_", self.bundle.path.resolve().name)

    @property
    def answering(self) -> int:
        """The position of the output that holds the scores."""
        return self.bundle.model_config.answering

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the model takes; None if it takes any."""
        return self.model.graph.fixed_batch

    def combined_files(self, folder: Path) -> tuple[Path, Path]:
        """The graph and ONE parameter file in `folder`, by the names that converters look for."""
        suffix = ".pdmodel" if self.model.graph_format.program_desc else ".json"
        graph, params = folder / f"model{suffix}", folder / "model.pdiparams"
        graph.symlink_to(self.model.model_file.resolve())
        if self.model.params_file is not None:
            params.symlink_to(self.model.params_file.resolve())
            return graph, params
        # One file a parameter: behind one another, in the order of their names, they are one.
        with params.open("wb") as out:
            for file in self.model.separate_params:
                with file.open("rb") as parameter:
                    shutil.copyfileobj(parameter, out)
        return graph, params


def open_source(bundle_dir: Path, *, of_onnx: str) -> Source:
    """Load and check the bundle.

    Args:
        bundle_dir: serving_model/NAME.
        of_onnx: what to say of a bundle that holds an ONNX model.

    Raises:
        ConversionError, BundleError: one line says what is wrong.
    """
    bundle = load_bundle(bundle_dir)
    if not bundle.graph_format.paddle:
        raise ConversionError(f"{bundle.path}: {of_onnx}")
    params = None if bundle.params_file is None else bundle.params_file.name
    model = read_export(bundle.server_dir, bundle.model_file.name, params)
    if len(bundle.model_config.feeds) != 1:
        raise ConversionError(
            f"{bundle.path}: has {len(bundle.model_config.feeds)} inputs; a classifier has one"
        )
    return Source(bundle, model)


def check_target(source: Source, options: TargetOptions, model_file: str, kind: str) -> None:
    """Refuse an output inside the bundle, and one that holds something else than such a target.

    Args:
        source: the bundle.
        options: the output, and whether it may be replaced.
        model_file: the file that every target of this kind holds.
        kind: what it is, for people.

    Raises:
        ConversionError: saying what stands in the way.
    """
    check_output(
        source.bundle.path,
        options.output,
        force=options.force,
        ours=frozenset({model_file}),
        kind=kind,
        source_kind="bundle",
    )


def run_step(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a converter in a process of its own: those at hand abort, or print pages.

    Raises:
        ConversionError: it cannot be started, or hangs.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=STEP_TIMEOUT_S,
        )
    except OSError as error:
        raise ConversionError(f"{command[0]}: cannot be run ({error.strerror or error})") from error
    except subprocess.TimeoutExpired as error:
        raise ConversionError(
            f"{command[0]}: gave no result in {STEP_TIMEOUT_S:.0f} s; is the machine overloaded?"
        ) from error


def of_a_full_disk(said: str) -> bool:
    """Whether a converter's output says that it could not write: each has its own words."""
    return any(mark in said for mark in ("No space left", "Errno 28", "Disk quota", "(fwrite"))


def megabytes(path: Path) -> str:
    """A file's size for people."""
    return f"{path.stat().st_size / 1e6:.1f} MB"
