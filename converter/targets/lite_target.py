"""A bundle as a Paddle-Lite model for ARM phones, with what PaddleClas' phone demo reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..bundling.output_folder import scratch, staged
from ..checking.comparison import Agreement, Trial, open_trial, prepare
from ..errors import ConversionError
from .paddle_lite import PaddleLite
from .phone_demo import CONFIG, LABELS, write_for_demo
from .program_operators import UnknownOperatorError
from .program_writer import write_program
from .target import (
    Say,
    Source,
    TargetOptions,
    TargetResult,
    check_target,
    open_source,
)

DESCRIPTION = "inference.yml"


def write_lite(options: TargetOptions, say: Say) -> TargetResult:
    """Write a bundle's model for Paddle-Lite on ARM, with labels and the phone demo's config.

    Raises:
        ConversionError: Paddle-Lite cannot take the model, or answers otherwise; nothing was
            written.
        BundleError: the bundle is incomplete or damaged; nothing was written.
    """
    source = open_source(
        options.bundle_dir,
        of_onnx="Paddle-Lite reads Paddle's graphs, and this is ONNX; export the model with Paddle",
    )
    model = f"{source.name}.nb"
    check_target(source, options, model, "Paddle-Lite export")
    lite = PaddleLite(source.bundle.path, options.output)
    # before the translation: errors in the images are reported at once
    prepared = prepare(source.bundle, options.images)
    everything = frozenset({model, DESCRIPTION, LABELS, CONFIG})
    with (
        staged(options.output, everything) as staging,
        scratch(options.output) as work,
    ):
        say(f"converting {options.bundle_dir} to Paddle-Lite")
        graph, params = _program_files(source, work)
        lite.optimize(graph, params, staging / model, "arm")
        # The same model for this machine: an ARM one runs on phones only.
        lite.optimize(graph, params, work / "here.nb", "x86")
        say("comparing the scores with the bundle's")
        trial = open_trial(source.bundle, prepared, source.fixed_batch)
        agreement = _compare(lite, source, trial, work, options.tolerance)
        files = {model: "the model, for ARM phones"}
        shutil.copyfile(source.bundle.server_dir / DESCRIPTION, staging / DESCRIPTION)
        files[DESCRIPTION] = "preprocessing and labels, for your own app"
        notes = write_for_demo(source, staging, files, model)
    return TargetResult(options.output, files, agreement, notes)


def _program_files(source: Source, folder: Path) -> tuple[Path, Path]:
    """The model as Paddle-Lite reads it; it knows no inference.json."""
    graph, params = source.combined_files(folder)
    if source.model.graph_format.program_desc:
        return graph, params
    program = graph.with_suffix(".pdmodel")
    try:
        write_program(graph, source.model.graph, program)
    except UnknownOperatorError as error:
        raise ConversionError(
            f"{source.bundle.model_file}: cannot be written as the .pdmodel that Paddle-Lite reads"
            f" ({error} is not known); export the model again with FLAGS_enable_pir_api=0 in the"
            " environment (of PaddleClas' tools/export_model.py, PaddleX' main.py or a script with"
            " paddle.jit.save), which gives a .pdmodel, and convert that"
        ) from error
    return program, params


def _compare(
    lite: PaddleLite, source: Source, trial: Trial, work: Path, tolerance: float
) -> Agreement:
    version, answers = lite.run(work / "here.nb", source.answering, trial.batches)
    return trial.compare(f"Paddle-Lite {version} (x86)", lambda _: answers, tolerance)
