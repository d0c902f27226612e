"""Whether a tuning fits: CPU, runtime and form are there, and the model has not changed."""

from __future__ import annotations

from pathlib import Path

from bundle.bundle import served_paths
from bundle.formats import graphs_in
from bundle.forms import form_folder
from bundle.tuned import CpuFingerprint, TunedChoice, Tuning
from bundle.tuning import model_digest

from ..predictors import registry
from .cpu import differences


def misfit(bundle: Path, tuning: Tuning, cpu: CpuFingerprint) -> str | None:
    """Return why nothing of the tuning can be taken on this `cpu`; None: it can.

    How many cores there are is not compared: see `settings.tuned`.

    Raises:
        BundleError: the model cannot be read.
    """
    reason = differences(cpu, tuning.cpu) or _unserved(bundle, tuning.choice)
    if reason is None and model_digest(bundle, tuning.choice.form) != tuning.model_sha256:
        return "the model has changed since"
    return reason


def _unserved(bundle: Path, choice: TunedChoice) -> str | None:
    runtime = registry.RUNTIMES.get(choice.backend)
    if runtime is None or "cpu" not in runtime.devices:
        return f"this kit has no runtime {choice.backend!r} for the CPU"
    if not runtime.installed():
        extra = runtime.extras["cpu"]
        return f"{runtime.title} is not installed here (pip install -e '.[{extra}]')"
    server_dir, _ = served_paths(bundle)
    graphs = graphs_in(form_folder(server_dir, choice.form))
    if not graphs:
        return f"the bundle has no form {choice.form!r} any more"
    graph_format = graphs[0][0]
    if graph_format not in runtime.formats:
        return f"{runtime.title} reads {runtime.reads}, and {choice.form} is {graph_format.title}"
    return None
