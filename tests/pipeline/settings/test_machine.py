"""Cores and memory as cgroups limit them: files as kernels and containers have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.settings.machine import Machine, whole_cores

V2 = "25 1 0:22 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
GIB = 2**30
CORES = len(os.sched_getaffinity(0))


def machine(root: Path, mounts: str, cgroup: str, files: dict[str, str]) -> Machine:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    (root / "proc" / "self" / "mountinfo").write_text(mounts)
    (root / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 16777216 kB\n")
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


@pytest.mark.parametrize(
    ("mounts", "cgroup", "files", "cores", "memory"),
    [
        pytest.param(
            V2.format(root="/"),
            "0::/\n",
            {"cpu.max": "50000 100000", "memory.max": f"{4 * GIB}"},
            0.5,
            4 * GIB,
            id="version-2-in-a-namespace",
        ),
        pytest.param(
            V2.format(root="/"),
            "0::/kubepods/pod1/c1\n",
            {
                "kubepods/pod1/c1/cpu.max": "max 100000",
                "kubepods/pod1/c1/memory.max": "max",
                "kubepods/pod1/cpu.max": "25000 100000",
                "kubepods/pod1/memory.max": f"{3 * GIB}",
                "kubepods/memory.max": f"{8 * GIB}",
            },
            0.25,
            3 * GIB,
            id="version-2-the-folders-above-count",
        ),
        pytest.param(
            V2.format(root="/"),
            "0::/system.slice/docker-1.scope\n",
            {"cpu.max": "30000 100000", "memory.max": f"{GIB}"},
            0.3,
            GIB,
            id="version-2-the-path-of-the-host-is-not-seen",
        ),
        pytest.param(
            V2.format(root="/"),
            "0::/../../other\n",
            {"cpu.max": "30000 100000"},
            0.3,
            None,
            id="version-2-outside-of-its-namespace",
        ),
        pytest.param(
            V1.format(root="/docker/1"),
            "4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/cpu.cfs_period_us": "1000000",
                "memory/memory.limit_in_bytes": f"{2 * GIB}",
            },
            0.15,
            2 * GIB,
            id="version-1-of-a-container",
        ),
        pytest.param(
            V1.format(root="/"),
            "4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                "memory/a/b/memory.limit_in_bytes": "9223372036854771712",
                "memory/a/memory.limit_in_bytes": f"{5 * GIB}",
            },
            None,
            5 * GIB,
            id="version-1-nested-without-a-quota",
        ),
        pytest.param("", "", {}, None, None, id="no-cgroups"),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path,
    mounts: str,
    cgroup: str,
    files: dict[str, str],
    cores: float | None,
    memory: int | None,
) -> None:
    found = machine(tmp_path, mounts, cgroup, files)
    assert found.cores() == pytest.approx(CORES if cores is None else cores)
    assert found.memory_bytes() == memory


def test_free_memory_leaves_out_file_pages_that_the_kernel_takes_back(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{4 * GIB}",
        "memory.current": f"{3 * GIB}",
        "memory.stat": f"anon 5\ninactive_file {GIB}\nfile {2 * GIB}\n",
    }
    assert machine(tmp_path, V2.format(root="/"), "0::/\n", files).free_bytes() == 2 * GIB


def test_the_free_memory_of_the_machine_counts_too(tmp_path: Path) -> None:
    files = {"memory.max": f"{64 * GIB}", "memory.current": "0"}
    assert machine(tmp_path, V2.format(root="/"), "0::/\n", files).free_bytes() == 16 * GIB


@pytest.mark.parametrize("name", ["memory.events", "memory.oom_control"])
def test_kills_of_the_kernel_are_counted(tmp_path: Path, name: str) -> None:
    found = machine(tmp_path, V2.format(root="/"), "0::/\n", {name: "low 0\noom 4\noom_kill 3\n"})
    assert found.oom_kills() == 3


def test_no_counter_is_no_number(tmp_path: Path) -> None:
    assert machine(tmp_path, "", "", {}).oom_kills() is None


@pytest.mark.parametrize(
    ("cores", "workers"), [(0.5, 1), (1.0, 1), (1.5, 1), (2.0, 2), (3.999, 4), (16, 16)]
)
def test_a_part_of_a_core_is_no_worker(cores: float, workers: int) -> None:
    assert whole_cores(cores) == workers


def test_the_machine_of_these_tests_has_limits_that_make_sense() -> None:
    found = Machine()
    assert 0 < found.cores() <= CORES
    free = found.free_bytes()
    assert free is None or free > 0
