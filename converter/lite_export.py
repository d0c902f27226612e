"""A bundle as a Paddle-Lite model for ARM phones, with what PaddleClas' phone demo reads."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.inference_yml import InferenceDescription

from .errors import ConversionError
from .export import (
    Agreement,
    Exported,
    ExportOptions,
    Say,
    Source,
    Trial,
    check_target,
    open_source,
    run_step,
)
from .output_folder import staged
from .program_writer import UnknownOperatorError, write_program

DESCRIPTION, LABELS, CONFIG = "inference.yml", "labels.txt", "config.txt"

# Names the interpreter of an environment with paddlelite; else the one that make builds is taken.
PYTHON_VARIABLE = "PADDLE_LITE_PYTHON"
_BUILT_PYTHON = Path(__file__).parent.parent / "build/paddle-lite-env/bin/python"
_HELPER = Path(__file__).with_name("lite_trial.py")

# Where the demo's files are pushed to; an app's own folder is nobody's to write from a computer.
PHONE_FOLDER = "/data/local/tmp/arm_cpu"


def export_lite(options: ExportOptions, say: Say) -> Exported:
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
    lite = _PaddleLite(_python(), source.bundle.path)
    everything = frozenset({model, DESCRIPTION, LABELS, CONFIG})
    with (
        staged(options.output, everything) as staging,
        tempfile.TemporaryDirectory(prefix="lite-") as work,
    ):
        say(f"converting {options.bundle_dir} to Paddle-Lite")
        graph, params = _program_files(source, Path(work))
        lite.optimize(graph, params, staging / model, "arm")
        # The same model for this machine: an ARM one runs on phones only.
        lite.optimize(graph, params, Path(work) / "here.nb", "x86")
        say("comparing the scores with the bundle's")
        trial = source.trial(options.images)
        agreement = _compare(lite, source, trial, Path(work), options.tolerance)
        files = {model: "the model, for ARM phones"}
        shutil.copyfile(source.bundle.server_dir / DESCRIPTION, staging / DESCRIPTION)
        files[DESCRIPTION] = "preprocessing and labels, for your own app"
        notes = _write_for_demo(source, staging, files, model)
    return Exported(options.output, files, agreement, notes)


def _python() -> Path:
    named = os.environ.get(PYTHON_VARIABLE)
    python = Path(named) if named else _BUILT_PYTHON
    if python.is_file():
        return python
    where = f"{PYTHON_VARIABLE}={named}: no such file" if named else "Paddle-Lite is not installed"
    raise ConversionError(
        f"{where}; run `make paddle-lite-env` (paddlelite 2.12 needs a Python 3.7 of its own), or"
        f" let {PYTHON_VARIABLE} name the interpreter of an environment that has it"
    )


class _PaddleLite:
    """Paddle-Lite in its own environment, one process a step."""

    def __init__(self, python: Path, bundle: Path) -> None:
        # not resolved: a virtual environment's interpreter is a link
        self._python = python.absolute()
        self._bundle = bundle

    def optimize(self, graph: Path, params: Path, target: Path, kind: str) -> None:
        output = str(target.absolute().with_suffix(""))
        self._step(graph.parent, "optimize", str(graph), str(params), output, kind)
        if not target.is_file():
            raise ConversionError(f"{self._bundle}: Paddle-Lite wrote no model for {kind}")

    def run(
        self, model: Path, index: int, batches: Sequence[np.ndarray]
    ) -> tuple[str, list[np.ndarray]]:
        """Return Paddle-Lite's version and the scores of every batch."""
        folder = model.parent
        files: list[str] = []
        for number, batch in enumerate(batches):
            np.save(folder / f"pictures{number}.npy", batch)
            files += [f"pictures{number}.npy", f"scores{number}.npy"]
        said = self._step(folder, "run", str(model), str(index), *files)
        answers = [np.load(folder / name, allow_pickle=False) for name in files[1::2]]
        return said.split()[-1], [np.asarray(a, np.float32).reshape(len(a), -1) for a in answers]

    def _step(self, folder: Path, *arguments: str) -> str:
        # -I: neither this package's modules nor the caller's PYTHONPATH are for Python 3.7
        command = [str(self._python), "-I", str(_HELPER), *arguments]
        done = run_step(command, folder, os.environ)
        if done.returncode == 0:
            return done.stdout
        if "ModuleNotFoundError" in done.stdout or "SyntaxError" in done.stdout:
            raise ConversionError(
                f"{self._python}: has no paddlelite ({_cause(done.stdout)}); run"
                f" `make paddle-lite-env`, or let {PYTHON_VARIABLE} name another interpreter"
            )
        crash = f"it crashed with signal {-done.returncode}: " if done.returncode < 0 else ""
        raise ConversionError(
            f"{self._bundle}: Paddle-Lite cannot {arguments[0]} the model"
            f" ({crash}{_cause(done.stdout)});"
            " it knows PP-LCNet, MobileNet, ShuffleNet, ResNet and their like: train one of them"
        )


def _cause(output: str) -> str:
    """Paddle-Lite's fatal line without its head, or the last line of a traceback."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    fatal = [line.partition("] ")[2] for line in lines if line.startswith("[F ")]
    told = fatal[:1] or lines[-1:]
    return told[0][:200].rstrip(": ") if told else "it says nothing"


def _program_files(source: Source, folder: Path) -> tuple[Path, Path]:
    """The model as Paddle-Lite reads it; it knows no inference.json."""
    graph, params = source.combined_files(folder)
    if source.model.graph_format != "pir":
        return graph, params
    program = graph.with_suffix(".pdmodel")
    try:
        write_program(graph, source.model.graph, program)
    except UnknownOperatorError as error:
        raise ConversionError(
            f"{source.bundle.model_file}: cannot be written as the .pdmodel that Paddle-Lite reads"
            f" ({error} is not known); export the model again with FLAGS_enable_pir_api=0 in the"
            " environment, which gives a .pdmodel, and convert that"
        ) from error
    return program, params


def _compare(
    lite: _PaddleLite, source: Source, trial: Trial, work: Path, tolerance: float
) -> Agreement:
    version, answers = lite.run(work / "here.nb", source.answering, trial.batches)
    return trial.compare(f"Paddle-Lite {version} (x86)", lambda _: answers, tolerance)


def _write_for_demo(
    source: Source, staging: Path, files: dict[str, str], model: str
) -> tuple[str, ...]:
    """Write labels and config.txt as the demo reads them; returns what it cannot do."""
    labels = source.bundle.labels
    if labels is None:
        return (f"{CONFIG} and {LABELS} are left out: the bundle has no labels",)
    # It drops everything before the first space of a line, so the number must stand there.
    numbered = [f"{number} {label}" for number, label in enumerate(labels)]
    (staging / LABELS).write_text("\n".join(numbered) + "\n", encoding="utf-8")
    files[LABELS] = f"{len(labels)} labels with their numbers, as the phone demo reads them"
    try:
        short_side, side = _demo_sizes(source)
    except _BeyondDemoError as error:
        return (f"{CONFIG} is left out, for the phone demo cannot run this model: {error}",)
    settings = {
        "clas_model_file": f"{PHONE_FOLDER}/{model}",
        "label_path": f"{PHONE_FOLDER}/{LABELS}",
        "resize_short_size": short_side,
        "crop_size": side,
        "visualize": 0,
        "num_threads": 1,
        "batch_size": 1,
        "precision": "FP32",
        "runtime_device": "arm_cpu",
        "enable_benchmark": 0,
        "tipc_benchmark": 0,
    }
    lines = [f"{key} {value}\n" for key, value in settings.items()]
    (staging / CONFIG).write_text("".join(lines), encoding="utf-8")
    files[CONFIG] = "the phone demo's settings"
    if source.model.graph.activations[source.answering] == "none":
        return ("the scores are raw logits; the phone demo shows those above 0 only",)
    return ()


class _BeyondDemoError(Exception):
    """The demo would prepare pictures otherwise than the model needs, and answer wrongly."""


def _demo_sizes(source: Source) -> tuple[int, int]:
    """The short side to resize to and the square to cut out; the demo knows nothing else."""
    if source.answering != 0:
        raise _BeyondDemoError("it reads the first output, and the scores are another")
    if source.fixed_batch not in (None, 1):
        raise _BeyondDemoError(
            f"the model takes {source.fixed_batch} pictures a run, and it gives one"
        )
    steps = _steps(source.bundle.description)
    if list(steps) not in (
        ["ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"],
        ["ResizeImage", "CropImage", "ToCHWImage", "NormalizeImage"],
    ):
        raise _BeyondDemoError(
            f"it resizes the short side, crops and normalises; the model needs {', '.join(steps)}"
        )
    resize, normalize = steps["ResizeImage"], steps["NormalizeImage"]
    short_side = resize.get("resize_short")
    if not isinstance(short_side, int) or short_side <= 0:
        raise _BeyondDemoError(
            f"it resizes the short side; the model needs size {resize.get('size')}"
        )
    crop = steps["CropImage"].get("size")
    width, height = (crop, crop) if isinstance(crop, int) else crop or (0, 1)
    if width != height:
        raise _BeyondDemoError(f"it cuts out a square; the model needs {width} x {height}")
    _check_normalisation(normalize)
    if str(resize.get("interpolation") or "bilinear").lower() != "bilinear":
        raise _BeyondDemoError(f"it resizes bilinearly; the model needs {resize['interpolation']}")
    return short_side, int(width)


def _steps(description: InferenceDescription) -> Mapping[str, Mapping[str, Any]]:
    steps: dict[str, Mapping[str, Any]] = {}
    for operator in description.transform_ops:
        if operator.name == "DecodeImage" and operator.options.get("to_rgb", True):
            continue  # the demo turns pictures to RGB too
        steps[operator.name] = operator.options
    return steps


def _check_normalisation(options: Mapping[str, Any]) -> None:
    """The demo's numbers are written in its source."""
    own = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    for key, numbers in own.items():
        given = options.get(key) or numbers
        if not np.allclose(given, numbers, atol=1e-6):
            raise _BeyondDemoError(
                f"it normalises with ImageNet's {key} {list(numbers)}; the model needs {given}"
            )
    scale = options.get("scale")
    numerator, _, denominator = str(1 / 255 if scale is None else scale).partition("/")
    if abs(float(numerator) / float(denominator or 1) - 1 / 255) > 1e-6:
        raise _BeyondDemoError(f"it scales pixels by 1/255; the model needs {scale}")
