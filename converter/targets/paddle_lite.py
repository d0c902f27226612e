"""Paddle-Lite 2.12 in the environment of `make paddle-lite-env`: optimise a model, run one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..bundling.output_folder import no_space
from ..errors import ConversionError
from .target import of_a_full_disk, run_step

# Names the interpreter of an environment with paddlelite; else the one that make builds is taken.
PYTHON_VARIABLE = "PADDLE_LITE_PYTHON"
_BUILT_PYTHON = Path(__file__).parents[2] / "build/paddle-lite-env/bin/python"
_ANOTHER = f"run `make paddle-lite-env`, or let {PYTHON_VARIABLE} name another interpreter"
_HELPER = Path(__file__).with_name("lite_trial.py")


class PaddleLite:
    """Paddle-Lite in its own environment, one process a step."""

    def __init__(self, bundle: Path, output: Path) -> None:
        # not resolved: a virtual environment's interpreter is a link
        self._python = _python().absolute()
        self._bundle = bundle
        self._output = output

    def optimize(self, graph: Path, params: Path, target: Path, kind: str) -> None:
        """Write `target` (.nb) for `kind`, "arm" or "x86".

        Raises:
            ConversionError: Paddle-Lite does not take the model.
        """
        output = str(target.absolute().with_suffix(""))
        self._step(graph.parent, "optimize", str(graph), str(params), output, kind)
        if not target.is_file():
            raise ConversionError(
                f"{self._bundle}: {self._python} wrote no model for {kind}; {_ANOTHER}"
            )

    def run(
        self, model: Path, index: int, batches: Sequence[np.ndarray]
    ) -> tuple[str, list[np.ndarray]]:
        """Return Paddle-Lite's version and the scores of every batch."""
        folder = model.parent
        files: list[str] = []
        for number, batch in enumerate(batches):
            np.save(folder / f"images{number}.npy", batch)
            files += [f"images{number}.npy", f"scores{number}.npy"]
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
                f"{self._python}: has no paddlelite ({_cause(done.stdout)}); {_ANOTHER}"
            )
        if of_a_full_disk(done.stdout):
            raise no_space(self._output)
        if done.returncode > 0 and "Traceback" not in done.stdout and "[F " not in done.stdout:
            raise ConversionError(
                f"{self._python}: cannot run Paddle-Lite's tools (it ends with"
                f" {done.returncode}: {_cause(done.stdout)}); {_ANOTHER}"
            )
        crash = f"it crashed with signal {-done.returncode}: " if done.returncode < 0 else ""
        raise ConversionError(
            f"{self._bundle}: Paddle-Lite cannot {arguments[0]} the model"
            f" ({crash}{_cause(done.stdout)});"
            " it knows PP-LCNet, MobileNet, ShuffleNet, ResNet and their like: train one of them"
        )


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


def _cause(output: str) -> str:
    """Paddle-Lite's fatal line without its head, or the last line of a traceback."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    fatal = [line.partition("] ")[2] for line in lines if line.startswith("[F ")]
    cause = fatal[:1] or lines[-1:]
    return cause[0][:200].rstrip(": ") if cause else "it says nothing"
