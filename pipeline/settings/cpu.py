"""What of the CPU decides which runtime is fastest: its fingerprint, for `bundle.tuning`."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from bundle.tuned import CpuFingerprint

from .machine import Machine, whole_cores

# Instruction sets that the runtimes choose their kernels by. Others, such as
# those of a hypervisor or against a weakness of the CPU, differ between kernels of one machine.
_X86 = (
    "sse4_1 sse4_2 avx avx2 fma f16c avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ne_convert avx_ifma "
    "avx512f avx512bw avx512cd avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni "
    "avx512_bf16 avx512_fp16 avx512_bitalg avx512_vpopcntdq avx10 amx_tile amx_int8 amx_bf16 "
    "amx_fp16 amx_complex"
)
_ARM = "asimd asimdhp asimdfhm asimddp sve sve2 svei8mm svebf16 i8mm bf16 sme sme2"
_FLAGS = frozenset((_X86 + " " + _ARM).split())
_LONGEST_NAME = 200


def cpu_fingerprint(machine: Machine) -> CpuFingerprint:
    """Return the fingerprint of the CPU and of the cores that this process may use."""
    facts = machine.cpu_facts()
    flags = set((facts.get("flags") or facts.get("Features") or "").split()) & _FLAGS
    return CpuFingerprint(_model(facts), tuple(sorted(flags)), whole_cores(machine.cores()))


def differences(here: CpuFingerprint, there: CpuFingerprint) -> str | None:
    """Return what makes `there` another CPU than `here`, cores aside; None: nothing."""
    if here.model != there.model:
        return f"it was measured on {there.model}, and this is {here.model}"
    more, less = set(here.flags) - set(there.flags), set(there.flags) - set(here.flags)
    parts = []
    if less:
        parts.append(f"lacks {', '.join(sorted(less))}")
    if more:
        parts.append(f"has {', '.join(sorted(more))} besides")
    return f"this CPU {' and '.join(parts)}" if parts else None


def _model(facts: Mapping[str, str]) -> str:
    """Return the name; family, model and stepping, for virtual machines call many CPUs alike."""
    if "CPU implementer" in facts:
        keys, name = ["CPU implementer", "CPU part", "CPU variant", "CPU revision"], "Arm"
    else:
        keys = ["cpu family", "model", "stepping"]
        name = facts.get("model name", platform.machine() or "unknown")
    numbers = ((key.split()[-1], facts.get(key)) for key in keys)
    known = ", ".join(f"{key} {number}" for key, number in numbers if number)
    name = " ".join(name.split())[:_LONGEST_NAME]
    return f"{name} ({known})" if known else name
