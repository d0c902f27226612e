"""Cores and memory as cgroups limit them: files as kernels and containers have them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converter.__main__ import main as convert
from pipeline.settings.machine import Machine, whole_cores
from pipeline.web_service import main as serve

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
        pytest.param(
            V1.format(root="/")
            .replace("cpuacct rw", "processors rw")
            .replace("memory rw", "ram rw"),
            "4:memory:/a\n2:cpu,cpuacct:/a\n",
            {
                "cpu,processors/cpu.cfs_quota_us": "50000",
                "cpu,processors/cpu.cfs_period_us": "100000",
                "ram/a/memory.limit_in_bytes": f"{GIB}",
            },
            0.5,
            GIB,
            id="version-1-mounted-under-other-names",
        ),
        pytest.param(
            V2.format(root="/a/b"),
            "0::/a/bc\n",
            {"cpu.max": "50000 100000", "c/cpu.max": "30000 100000"},
            0.5,
            None,
            id="version-2-beside-the-root-of-its-mount",
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


def test_the_workers_of_a_service_follow_a_real_quota(root: Path) -> None:
    """A process in a cgroup that may use one core."""
    name = f"paddle-serving-kit-test-{os.getpid()}"
    for folder, file, quota in (
        (Path("/sys/fs/cgroup/cpu") / name, "cpu.cfs_quota_us", "100000"),
        (Path("/sys/fs/cgroup") / name, "cpu.max", "100000 100000"),
    ):
        try:
            folder.mkdir()
            (folder / file).write_text(quota)
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        break
    else:
        pytest.skip("needs root, and cgroups that can be written")
    program = (
        "import sys; sys.stdin.readline(); from pathlib import Path; "
        "from pipeline.settings.config import load_settings; "
        "from pipeline.settings.machine import Machine; "
        "none = ['op.waste.concurrency=', 'op.waste.local_service_conf.thread_num=']; "
        "settings = load_settings(Path('configs/waste.yml'), none); "
        "print(Machine().cores(), settings.ops[0].engine.workers)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        (folder / "cgroup.procs").write_text(str(process.pid))
        out, _ = process.communicate("go\n")
    finally:
        process.kill()
        process.wait()
        folder.rmdir()
    assert out.split() == ["1.0", "1"]


def test_a_check_warns_of_more_workers_than_cores_and_memory(
    in_process: Any, write_onnx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "export"
    export.mkdir()
    write_onnx(export / "net.onnx")
    (export / "labels.txt").write_text("red\ngreen\nblue\n")
    (export / "operators.yml").write_text(
        "- ResizeImage: {resize_short: 256}\n- CropImage: {size: 8}\n"
        "- NormalizeImage: {order: ''}\n- ToCHWImage:\n"
    )
    labels = ("--labels", export / "labels.txt")
    options = ("--preprocess", export / "operators.yml", *labels)
    assert in_process(convert, "convert", export, "--output", tmp_path / "model", *options)
    (tmp_path / "config.yml").write_text(
        "http_port: 0\nrpc_port: 0\n"
        "op: {waste: {concurrency: 250, local_service_conf: {model_config: model}}}\n"
    )
    arguments = ("--check", "--config", tmp_path / "config.yml")
    monkeypatch.setattr(Machine, "free_bytes", lambda _self: 600 * 2**20)
    done = in_process(serve, *arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(r"warning: op\.waste: 250 workers x 1 thread for [\d.]+ cores? ", done.stdout)
    assert re.search(r"warning: op\.waste: \d+ of 250 workers have room \(", done.stdout)
    done = in_process(serve, *arguments, "-o", "op.waste.concurrency=1")
    assert "warning" not in done.stdout
