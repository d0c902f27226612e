"""Which candidates there are: runtimes x forms x precisions, and workers x threads."""

from __future__ import annotations

from bundle import Bundle
from bundle.forms import EXPORT, FORMS
from bundle.tuned import CpuFingerprint
from pipeline.predictors import PredictorOptions
from pipeline.predictors.registry import RUNTIMES, choose
from pipeline.settings.tuned import Written, default_way

from .candidate import Candidate

BATCHES = (1, 2, 4, 8, 16)
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
_FP16 = frozenset({"avx512_fp16", "amx_fp16", "asimdhp"})


def untuned(bundle: Bundle, cores: int) -> Candidate:
    """Return what the service does without a tuning and with a config.yml that sets nothing.

    Raises:
        PredictorError: no runtime reads the bundle.
    """
    way = default_way(Written(), workers=cores, cores=cores)
    choice = choose(bundle, way.backend, PredictorOptions(precision=way.precision))
    return Candidate(
        choice.runtime.name,
        choice.form,
        way.precision,
        way.batch_size,
        way.workers,
        way.threads,
        way.fast_decode,
    )


def reference(bundle: Bundle, cores: int) -> Candidate | None:
    """Return the export in the first runtime that reads it; None: none is installed."""
    for runtime in RUNTIMES.values():
        reads = bundle.graph_format in runtime.formats and "cpu" in runtime.devices
        if reads and runtime.installed():
            return Candidate(runtime.name, EXPORT, "fp32", 1, cores, 1, fast_decode=False)
    return None


def lines(bundle: Bundle, cpu: CpuFingerprint) -> list[Candidate]:
    """Return a candidate of each runtime, form and precision, one by one and a worker a core."""
    flags = set(cpu.flags)
    precisions = ["fp32"]
    precisions += ["bf16"] if flags & _BF16 else []
    precisions += ["fp16"] if flags & _FP16 else []
    return [
        Candidate(runtime.name, form, precision, 1, cpu.cores, 1, fast_decode=False)
        for runtime in RUNTIMES.values()
        if "cpu" in runtime.devices and runtime.installed()
        for form, graph in bundle.forms.items()
        if graph.graph_format in runtime.formats
        for precision in precisions
        if precision in runtime.precisions.get("cpu", ())
        if precision == "fp32" or FORMS[form].exact
    ]


def left_out(bundle: Bundle) -> list[str]:
    """Return what other runtimes of the CPU there are, and what each needs to be a candidate."""
    missing = []
    for runtime in RUNTIMES.values():
        if "cpu" not in runtime.devices:
            continue
        if not any(graph.graph_format in runtime.formats for graph in bundle.forms.values()):
            if runtime.made_by:
                missing.append(
                    f"{runtime.title}: `python -m {runtime.made_by} {bundle.path}` adds the ONNX"
                    " that it reads"
                )
        elif not runtime.installed():
            extra = runtime.extras["cpu"]
            missing.append(f"{runtime.title}: not installed; pip install -e '.[{extra}]' has it")
    return missing


def layouts(cores: int) -> list[tuple[int, int]]:
    """Return (workers, threads) that keep the cores busy, most workers first."""
    threads = {cores, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)}
    return [(cores // count, count) for count in sorted(threads)]
