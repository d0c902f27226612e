"""What every export shares: the bundle, pictures to try, their scores, and the comparison."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bundle import Bundle, load_bundle
from bundle.inference_yml import InferenceDescription
from pipeline.predictors import Predictor, PredictorError, create_predictor
from pipeline.stages.decode import decode_image
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

from .errors import ConversionError
from .exported_model import ExportedModel, read_export
from .output_folder import check_output
from .pictures import drawn_pictures, given_pictures

# Scores of fp32 runtimes differ by less than 1e-5; a wrong conversion by 1e-2 and more.
DEFAULT_TOLERANCE = 1e-4
# A translation takes seconds; what takes this long hangs.
STEP_TIMEOUT_S = 600.0

Say = Callable[[str], None]
# Batches of prepared pictures -> scores [N, classes] of each.
Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class ExportOptions:
    """What a caller asks of an export.

    Attributes:
        bundle_dir: serving_model/NAME.
        output: the folder to be written.
        images: pictures, or folders of them, to compare with; none: drawn ones.
        tolerance: the largest difference of a score that is accepted, relative to the largest.
        force: replace an existing export.
    """

    bundle_dir: Path
    output: Path
    images: tuple[Path, ...] = ()
    tolerance: float = DEFAULT_TOLERANCE
    force: bool = False


@dataclass(frozen=True)
class Agreement:
    """How near the exported model's scores are to the bundle's.

    Attributes:
        runtime: what ran the exported model.
        reference: what ran the bundle.
        pictures: how many were compared.
        difference: the largest of all scores, relative to the largest score.
        same_best: in how many pictures both find the same class best.
        telling: the bundle answers differently to different pictures.
    """

    runtime: str
    reference: str
    pictures: int
    difference: float
    same_best: int
    telling: bool


@dataclass(frozen=True)
class Exported:
    """What an export wrote: file name -> what it is, and what a user should know besides."""

    output: Path
    files: Mapping[str, str]
    agreement: Agreement
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Trial:
    """Prepared pictures in batches, and the bundle's own scores of them.

    Where the model takes any batch size, the first batch is one picture and another holds several:
    a picture may stand in two. `owners` says of every row which picture it is.
    """

    batches: tuple[np.ndarray, ...]
    owners: tuple[int, ...]
    scores: tuple[np.ndarray, ...]
    reference: str

    def compare(self, runtime: str, run: Run, tolerance: float) -> Agreement:
        """Run the same pictures through an exported model.

        Raises:
            ConversionError: the model answers otherwise than the bundle.
        """
        answers = run(self.batches)
        for ours, theirs in zip(self.scores, answers, strict=True):
            if ours.shape != theirs.shape:
                raise ConversionError(
                    f"the exported model gives scores of the shape {list(theirs.shape)} and the"
                    f" bundle {list(ours.shape)}; nothing was written"
                )
        ours, theirs = np.concatenate(self.scores), np.concatenate(answers)
        # relative: the 1000 scores of an undecided model are all near 0.001
        largest = float(np.abs(ours).max()) or 1.0
        difference = float(np.abs(ours - theirs).max()) / largest
        if not difference <= tolerance:  # a nan is no agreement either
            raise ConversionError(
                f"the exported model differs from the bundle by {difference:.2g} ({runtime} beside"
                f" {self.reference}), more than the tolerance {tolerance:g}; nothing was written"
            )
        pictures = set(self.owners)
        same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        differing = {owner for owner, equal in zip(self.owners, same, strict=True) if not equal}
        return Agreement(
            runtime=runtime,
            reference=self.reference,
            pictures=len(pictures),
            difference=difference,
            same_best=len(pictures - differing),
            telling=float(np.ptp(ours, axis=0).max()) / largest > 10 * tolerance,
        )


@dataclass(frozen=True)
class Source:
    """A bundle to export, read and checked."""

    bundle: Bundle
    model: ExportedModel

    @property
    def name(self) -> str:
        """The bundle's name, in characters that every file system and config.txt take."""
        return re.sub(r"\s+", "_", self.bundle.path.resolve().name)

    @property
    def answering(self) -> int:
        """The position of the output that answers are made from."""
        return self.bundle.model_config.answering

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the model takes; None if it takes any."""
        return self.model.graph.fixed_batch

    def combined_files(self, folder: Path) -> tuple[Path, Path]:
        """The graph and ONE parameter file in `folder`, by the names that converters look for."""
        suffix = ".json" if self.model.graph_format == "pir" else ".pdmodel"
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

    def trial(self, images: Sequence[Path]) -> Trial:
        """Prepare pictures and ask the bundle for its own scores.

        Raises:
            ConversionError: a picture cannot be read, or the bundle does not run.
        """
        arrays = _prepared(self.bundle.description, images)
        groups = _groups(arrays, self.fixed_batch)
        batches = tuple(np.stack([arrays[i] for i in group]) for group in groups)
        try:
            with warnings.catch_warnings():
                # Paddle wishes for a compiler's cache when it is imported
                warnings.simplefilter("ignore")
                predictor: Predictor = create_predictor(self.bundle)
            scores = tuple(predictor.predict(batch) for batch in batches)
        except PredictorError as error:
            raise ConversionError(f"{self.bundle.path}: does not run: {error}") from error
        return Trial(batches, tuple(i for group in groups for i in group), scores, predictor.name)


def open_source(bundle_dir: Path, *, of_onnx: str) -> Source:
    """Load and check the bundle.

    Args:
        bundle_dir: serving_model/NAME.
        of_onnx: what to tell the owner of a bundle that holds an ONNX model.

    Raises:
        ConversionError, BundleError: one line says what is wrong.
    """
    bundle = load_bundle(bundle_dir)
    if bundle.graph_format == "onnx":
        raise ConversionError(f"{bundle.path}: {of_onnx}")
    params = None if bundle.params_file is None else bundle.params_file.name
    model = read_export(bundle.server_dir, bundle.model_file.name, params)
    if len(bundle.model_config.feeds) != 1:
        raise ConversionError(
            f"{bundle.path}: has {len(bundle.model_config.feeds)} inputs; a classifier has one"
        )
    return Source(bundle, model)


def check_target(source: Source, options: ExportOptions, model_file: str, kind: str) -> None:
    """Refuse an output inside the bundle, and one that holds something else than such an export.

    Args:
        source: the bundle.
        options: what was asked.
        model_file: the file that tells an export of this kind.
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


def megabytes(path: Path) -> str:
    """A file's size for people."""
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _prepared(description: InferenceDescription, images: Sequence[Path]) -> list[np.ndarray]:
    try:
        preprocess = build_preprocess(description.transform_ops)
    except PreprocessError as error:
        raise ConversionError(f"preprocessing: {error}") from error
    arrays = []
    pictures = given_pictures(images) if images else drawn_pictures()
    for name, data in pictures.items():
        try:
            arrays.append(preprocess(decode_image(data)))
        except ServingError as error:
            raise ConversionError(f"{name}: {error}") from error
    return arrays


def _groups(arrays: Sequence[np.ndarray], fixed_batch: int | None) -> list[list[int]]:
    """Which pictures make a batch: those of one shape, as many as the model takes."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, array in enumerate(arrays):
        by_shape.setdefault(array.shape, []).append(position)
    groups = []
    for same in by_shape.values():
        if fixed_batch is None:
            # alone, and then all: an export that lost its dynamic batch fails at one of them
            groups += [same[:1], same if len(same) > 1 else same * 2]
        else:
            runs = range(0, len(same), fixed_batch)
            filled = same + same[-1:] * fixed_batch
            groups += [filled[begin : begin + fixed_batch] for begin in runs]
    return groups
