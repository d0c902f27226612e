"""The fingerprint of a CPU, from /proc/cpuinfo as kernels write it."""

from __future__ import annotations

from pathlib import Path

from bundle.tuned import CpuFingerprint
from pipeline.settings.cpu import cpu_fingerprint, differences
from pipeline.settings.machine import Machine

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R)  Platinum 8481C CPU @ 2.70GHz
stepping\t: 8
cpu MHz\t\t: 2700.000
flags\t\t: fpu vme sse4_1 avx2 avx512f avx512_vnni amx_tile amx_bf16 hypervisor ibrs

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""


def of(root: Path, cpuinfo: str | None, cpu_max: str = "max 100000") -> CpuFingerprint:
    (root / "proc" / "self").mkdir(parents=True)
    if cpuinfo is not None:
        (root / "proc" / "cpuinfo").write_text(cpuinfo, encoding="ascii")
    (root / "proc" / "self" / "cgroup").write_text("0::/\n")
    mount = "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (root / "proc" / "self" / "mountinfo").write_text(mount)
    (root / "sys" / "fs" / "cgroup").mkdir(parents=True)
    (root / "sys" / "fs" / "cgroup" / "cpu.max").write_text(cpu_max)
    return cpu_fingerprint(Machine(root))


def test_x86_is_named_with_family_model_and_stepping(tmp_path: Path) -> None:
    cpu = of(tmp_path, X86)
    name = "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz (family 6, model 143, stepping 8)"
    assert cpu.model == name
    assert cpu.flags == ("amx_bf16", "amx_tile", "avx2", "avx512_vnni", "avx512f", "sse4_1")
    assert cpu.cores >= 1


def test_arm_is_named_by_its_numbers(tmp_path: Path) -> None:
    cpu = of(tmp_path, ARM)
    assert cpu.model == "Arm (implementer 0x41, part 0xd40, variant 0x1, revision 1)"
    assert cpu.flags == ("asimd", "asimddp", "bf16", "i8mm", "sve")


def test_a_quota_counts(tmp_path: Path) -> None:
    assert of(tmp_path, X86, cpu_max="50000 100000").cores == 1


def test_a_kernel_that_says_nothing_gives_a_fingerprint_all_the_same(tmp_path: Path) -> None:
    cpu = of(tmp_path, None)
    assert cpu.model
    assert cpu.flags == ()


def test_differences_are_in_words_and_cores_are_none() -> None:
    here = CpuFingerprint("A", ("avx2", "fma"), 2)
    assert differences(here, CpuFingerprint("A", ("avx2", "fma"), 8)) is None
    assert differences(here, CpuFingerprint("B", ("avx2", "fma"), 2)) == (
        "it was measured on B, and this is A"
    )
    assert differences(here, CpuFingerprint("A", ("avx2", "avx512_vnni"), 2)) == (
        "this CPU lacks avx512_vnni and has fma besides"
    )
