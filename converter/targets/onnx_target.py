"""A bundle as ONNX: translated by paddle2onnx, then run beside the bundle."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.predictors.onnx_library import load_onnxruntime
from pipeline.predictors.onnx_runtime import cause_of

from ..bundling.output_folder import no_space, scratch, staged
from ..checking.comparison import Agreement, Run, open_trial, prepare
from ..errors import ConversionError
from ..reading.program_graph import MESSAGES
from .target import (
    Say,
    Source,
    TargetOptions,
    TargetResult,
    check_target,
    of_a_full_disk,
    open_source,
    run_step,
)

MODEL, DESCRIPTION, LABELS = "inference.onnx", "inference.yml", "labels.txt"
_FILES = frozenset({MODEL, DESCRIPTION, LABELS})

# Old enough for every runtime of the last years; paddle2onnx raises it where an operator needs it.
_OPSET = 13


def write_onnx(options: TargetOptions, say: Say) -> TargetResult:
    """Write a bundle's model as ONNX, with its description and labels.

    Raises:
        ConversionError: the model cannot be expressed, or answers otherwise; nothing was written.
        BundleError: the bundle is incomplete or damaged; nothing was written.
    """
    source = open_source(
        options.bundle_dir, of_onnx="is ONNX already; take serving_server/inference.onnx"
    )
    check_target(source, options, MODEL, "ONNX export")
    check_packages()
    with staged(options.output, _FILES) as staging:
        target = staging / MODEL
        agreement = translated(
            source, target, options.output, options.images, options.tolerance, say
        )
        shutil.copyfile(source.bundle.server_dir / DESCRIPTION, staging / DESCRIPTION)
        files = {MODEL: "the model", DESCRIPTION: "preprocessing and labels"}
        labels = source.bundle.labels
        if labels is not None:
            (staging / LABELS).write_text("\n".join(labels) + "\n", encoding="utf-8")
            files[LABELS] = f"{len(labels)} labels, the first is class 0"
    return TargetResult(options.output, files, agreement)


def translated(
    source: Source,
    target: Path,
    output: Path,
    images: Sequence[Path],
    tolerance: float,
    say: Say,
) -> Agreement:
    """Write the bundle's graph as ONNX to `target`, and compare its scores with the export's.

    Errors name `output`, the folder that the caller was given.

    Raises:
        ConversionError: it cannot be expressed, or answers otherwise.
    """
    # before the translation: errors in the images are reported at once
    prepared = prepare(source.bundle, images)
    say(f"converting {source.bundle.path} to ONNX")
    _translate(source, target, output)
    say("comparing the scores with the export's")
    trial = open_trial(source.bundle, prepared, source.fixed_batch)
    runtime, run = _open_session(source, target)
    return trial.compare(runtime, run, tolerance)


def paddle2onnx_version() -> str:
    """Return the version of what translates."""
    return importlib.metadata.version("paddle2onnx")


def check_packages() -> None:
    """Check that what translates and compares is there.

    Raises:
        ConversionError: it is not; the text says how to install it.
    """
    if missing := missing_packages():
        raise ConversionError(missing)


def missing_packages() -> str:
    """Return which packages are missing, and how to install them; "" if none is."""
    wanted = ("paddle", "paddle2onnx", "onnxruntime")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    # paddle2onnx 2.1 asks for onnx 1.17, which knows no newer Python
    newest = sys.version_info >= (3, 13) and "paddle2onnx" in missing
    where = ", which paddle2onnx asks for, on Python 3.10 to 3.12" if newest else ""
    return (
        f"{' and '.join(missing)} cannot be imported; install the extras cpu and export{where}:"
        f" in the kit's folder: {sys.executable} -m pip install -e '.[cpu,export]'"
    )


def _translate(source: Source, target: Path, output: Path) -> None:
    with scratch(output) as folder:
        graph, params = source.combined_files(folder)
        if source.model.graph_format.program_desc:
            _keep_axes_of_sizes(graph)
        command = [sys.executable, "-W", "ignore", "-m", "paddle2onnx.command"]
        command += ["--model_dir", str(folder), "--save_file", str(target.resolve())]
        command += ["--model_filename", graph.name, "--params_filename", params.name]
        command += ["--opset_version", str(_OPSET)]
        # Its default tool installs packages while it runs, from an index of its own choice. ONNX
        # Runtime folds the same constants when it loads the model.
        command += ["--optimize_tool", "None"]
        done = run_step(command, folder, {**os.environ, "GLOG_minloglevel": "2"})
        # It ends with 0 and an empty file where it failed.
        failed = done.returncode != 0 or not target.is_file() or target.stat().st_size == 0
        if failed and of_a_full_disk(done.stdout):
            raise no_space(output)
    if failed:
        raise ConversionError(
            f"{source.bundle.path}: paddle2onnx cannot translate the model"
            f" ({_cause(done.stdout)}); export the model again with Paddle 3, or keep serving the"
            " bundle itself"
        )
    _drop_unused_constants(target)


def _keep_axes_of_sizes(graph: Path) -> None:
    """Let a size that is cut out of a shape stay an array of one number.

    Before 2.5, Paddle had no tensors without dimensions, and a graph of then joins such a size with
    arrays to a new shape. paddle2onnx reads it as Paddle 3 would, and writes a Concat of a number
    and an array, which no runtime loads.
    """
    program = MESSAGES["ProgramDesc"]()
    program.ParseFromString(graph.read_bytes())
    operators = program.blocks[0].ops
    sizes = {
        name
        for op in operators
        for variable in op.inputs
        if variable.parameter == "ShapeTensor"
        for name in variable.arguments
    }
    for op in operators:
        results = {name for variable in op.outputs for name in variable.arguments}
        if op.type == "slice" and results <= sizes:
            for attribute in op.attrs:
                if attribute.name == "decrease_axis":
                    del attribute.ints[:]
    graph.unlink()  # it is a link to the bundle's own
    graph.write_bytes(program.SerializeToString())


def _drop_unused_constants(file: Path) -> None:
    """ONNX Runtime warns of every one of them, line by line, each time the model is loaded."""
    import onnx

    model = onnx.load(str(file))
    graph = model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # what a loop or a branch uses is not looked for
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    kept = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)
    onnx.save(model, str(file))


def _cause(output: str) -> str:
    """The line of a log that says why: of an error, or the last."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [" ".join(line.split()) for line in plain.splitlines() if line.strip()]
    marks = ("not supported", "Error", "ERROR", "nvalid", "failed", "Fail")
    cause = [line for line in lines if any(mark in line for mark in marks)] or lines[-1:]
    if not cause:
        return "it says nothing"
    return cause[0].rpartition("Failed to convert PaddlePaddle model: ")[2][:200]


def _open_session(source: Source, file: Path) -> tuple[str, Run]:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ConversionError(
            f"ONNX Runtime cannot load what paddle2onnx made: {cause_of(error)}"
        ) from error
    (feed,) = session.get_inputs()
    fetch = session.get_outputs()[source.answering]
    if source.fixed_batch is None and isinstance(feed.shape[0], int):
        raise ConversionError(
            f"{source.bundle.path}: the ONNX model takes {feed.shape[0]} images a run, the"
            " bundle any number; report this to paddle2onnx"
        )

    def run(batches: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            answers = [session.run([fetch.name], {feed.name: batch})[0] for batch in batches]
        except Exception as error:
            raise ConversionError(
                f"ONNX Runtime fails with the exported model: {cause_of(error)}"
            ) from error
        return [np.asarray(a, np.float32).reshape(len(a), -1) for a in answers]

    return f"ONNX Runtime {onnxruntime.__version__}", run
