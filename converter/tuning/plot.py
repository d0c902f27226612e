"""The table of a tuning as an image."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ..errors import ConversionError
from .tune import Tuned

_ENDINGS = (".png", ".svg")
_MOST = 20  # bars that a reader can distinguish


def check_plot(file: Path) -> None:
    """Check, before a minute of measuring, that the image can be drawn.

    Raises:
        ConversionError: by its ending, its folder, or for want of matplotlib it cannot.
    """
    if file.suffix not in _ENDINGS:
        raise ConversionError(f"--plot {file}: name a file that ends in {' or '.join(_ENDINGS)}")
    if not file.absolute().parent.is_dir():
        raise ConversionError(f"--plot {file}: there is no folder {file.parent}; make it first")
    if importlib.util.find_spec("matplotlib") is None:
        raise ConversionError(
            "--plot needs matplotlib, which cannot be imported; in the kit's folder:"
            f" {sys.executable} -m pip install -e '.[train]'"
        )


def plot(tuned: Tuned, file: Path) -> None:
    """Draw images a second of the candidates as bars, and write them whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [e for e in tuned.entrants.values() if e.images_per_s]
    measured = sorted(measured, key=lambda e: e.images_per_s or 0.0)[-_MOST:]
    names = [str(e.candidate) for e in measured]
    colors = [
        "tab:green" if e is tuned.chosen else "tab:gray" if e.refused else "tab:blue"
        for e in measured
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(measured)), layout="constrained")
    bars = axes.barh(names, [e.images_per_s or 0.0 for e in measured], color=colors)
    axes.margins(x=0.1)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("images a second (green: chosen, grey: refused for its scores)")
    axes.set_title(f"{tuned.bundle.path.name}, {tuned.cpu.cores} cores")
    temporary = file.with_name(f".{file.name}.tmp{file.suffix}")
    try:
        figure.savefig(temporary)
        temporary.replace(file)
    finally:
        pyplot.close(figure)
        temporary.unlink(missing_ok=True)
