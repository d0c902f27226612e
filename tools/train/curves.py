"""Draws the learning curves of a run."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(metrics: Path, output: Path) -> None:
    """Draw loss, validation accuracy and learning rate of each epoch in `metrics` to a PNG.

    Lines of older runs have no learning rate; then none is drawn.
    """
    # Not at the top of the module: the import takes a second, and only a finished run draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {"loss": "loss (training)", "val": "accuracy (validation)", "rate": "learning rate"}
    shown = [key for key in panels if key in lines[0]]
    axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for axis, key in zip(axes, shown, strict=True):
        values = [line[key] for line in lines]
        axis.plot(epochs, values, marker="." if len(epochs) < 30 else "")
        axis.set_ylabel(panels[key])
        axis.grid(visible=True, alpha=0.3)
        if key == "val":
            # Of equal epochs the last, whose weights were saved.
            best = max(range(len(values)), key=lambda i: (values[i], i))
            axis.plot(epochs[best], values[best], "o", color="tab:red")
            axis.annotate(
                f"{values[best]:.4f}", (epochs[best], values[best]),
                textcoords="offset points", xytext=(0, -18), ha="center",
                bbox={"boxstyle": "round", "color": "white", "alpha": 0.8},
            )  # fmt: skip
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(str(output), dpi=100)
