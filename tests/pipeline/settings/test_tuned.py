"""What a service takes of tuning.yml: where it fits, as far as it fits, and under config.yml."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.tuned import CpuFingerprint, TunedChoice, TunedImages, Tuning
from bundle.tuning import model_digest, tuning_file, write_tuning
from pipeline.hosts.ports import Addresses
from pipeline.predictors import registry
from pipeline.settings.config import ServiceSettings, load_settings
from pipeline.settings.errors import ConfigError
from pipeline.settings.machine import Machine
from pipeline.settings.op import OpSettings
from pipeline.summary import summary

CONFIG = """
http_port: 0
op:
  waste: {local_service_conf: {model_config: waste}}
"""
FLAGS = ("avx2", "avx512_vnni")
CPU = CpuFingerprint("AMD EPYC (family 25)", FLAGS, 4)
# Unlike the defaults in every key.
CHOICE = TunedChoice("paddle", "export", "bf16", 2, 1, 3, fast_decode=True)
COMMAND = "python -m converter tune"


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "serving_model" / "waste", tmp_path / "waste")
    (tmp_path / "config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def machine(folder: Path, quota: str = "max 100000") -> Machine:
    root = folder / "root"
    (root / "proc" / "self").mkdir(parents=True, exist_ok=True)
    cpuinfo = f"cpu family : 25\nmodel name : AMD EPYC\nflags : {' '.join(FLAGS)}\n"
    (root / "proc" / "cpuinfo").write_text(cpuinfo)
    (root / "proc" / "self" / "cgroup").write_text("0::/\n")
    mount = "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (root / "proc" / "self" / "mountinfo").write_text(mount)
    (root / "sys" / "fs" / "cgroup").mkdir(parents=True, exist_ok=True)
    (root / "sys" / "fs" / "cgroup" / "cpu.max").write_text(quota)
    return Machine(root)


def tune(folder: Path, choice: TunedChoice = CHOICE, cpu: CpuFingerprint = CPU) -> None:
    bundle = folder / "waste"
    digest = model_digest(bundle, choice.form)
    images = TunedImages("drawn", 8, labelled=False)
    tuning = Tuning(choice, cpu, digest, "2026-12-01T01:20:33Z", {}, images)
    write_tuning(bundle, tuning)


def load(folder: Path, *overrides: str, quota: str = "max 100000") -> ServiceSettings:
    return load_settings(folder / "config.yml", overrides, machine=machine(folder, quota))


def way(op: OpSettings) -> TunedChoice:
    predictor = op.classifier.predictor
    assert len(op.devices) == op.engine.workers
    assert op.engine.batch_size == op.classifier.batch_size
    return TunedChoice(
        op.classifier.backend,
        predictor.form or "",
        predictor.precision,
        op.engine.batch_size,
        op.engine.workers,
        predictor.threads,
        op.classifier.fast_decode,
    )


UNTUNED = TunedChoice("auto", "", "fp32", 8, 4, 1, fast_decode=False)


def test_untuned_it_says_how_to_tune(folder: Path) -> None:
    settings = load(folder)
    (op,) = settings.ops
    assert (way(op), settings.warning, op.tuning.state) == (UNTUNED, None, "untuned")
    assert op.tuning.text == f"untuned; {COMMAND} {folder / 'waste'}"


def test_all_of_a_choice_is_taken_where_it_fits(folder: Path) -> None:
    tune(folder)
    settings = load(folder)
    (op,) = settings.ops
    assert (way(op), settings.warning) == (CHOICE, None)
    assert (op.tuning.state, op.tuning.text) == ("tuned", "tuned 2026-12-01")
    addresses = Addresses("127.0.0.1", 1, None, None, tls=False, admin=None)
    block = summary(settings, {"waste": _Engine()}, addresses, "ready")
    assert "    tuning       tuned 2026-12-01\n" in block


class _Engine:
    facts: dict[str, object] = {}  # noqa: RUF012
    size = 1


@pytest.mark.parametrize(
    ("override", "expected", "overridden"),
    [
        ("batch_size=5", replace(CHOICE, batch_size=5), ("batch_size",)),
        ("batch_size=2", CHOICE, ()),
        ("fast_decode=False", replace(CHOICE, fast_decode=False), ("fast_decode",)),
        ("concurrency=2", replace(CHOICE, workers=2, threads=2), ("concurrency",)),
        ("concurrency=1", CHOICE, ()),
        (
            "local_service_conf.thread_num=2",
            replace(CHOICE, workers=4, threads=2),
            ("thread_num",),
        ),
        (
            "local_service_conf.backend=onnxruntime",
            replace(CHOICE, backend="onnxruntime", form="", precision="fp32"),
            ("backend",),
        ),
        ("local_service_conf.backend=paddle", CHOICE, ()),
        ("local_service_conf.backend=auto", CHOICE, ()),
        (
            "local_service_conf.precision=fp32",
            replace(CHOICE, precision="fp32"),
            ("precision",),
        ),
        ("local_service_conf.precision=", CHOICE, ()),
        ("batch_size=", CHOICE, ()),
    ],
)
def test_each_key_of_the_configuration_overrides_alone(
    folder: Path, override: str, expected: TunedChoice, overridden: tuple[str, ...]
) -> None:
    tune(folder)
    settings = load(folder, f"op.waste.{override}")
    (op,) = settings.ops
    assert (way(op), op.tuning.overridden, settings.warning) == (expected, overridden, None)
    said = (
        f"tuned 2026-12-01; config.yml sets {overridden[0]}" if overridden else "tuned 2026-12-01"
    )
    assert op.tuning.text == said


def test_a_precision_that_is_set_keeps_int8_out(folder: Path) -> None:
    form = folder / "waste" / "serving_server" / "onnx-int8"
    form.mkdir()
    (form / "inference.onnx").write_bytes(b"a graph")
    choice = TunedChoice("onnxruntime", "onnx-int8", "fp32", 1, 4, 1, fast_decode=False)
    tune(folder, choice)
    assert way(load(folder).ops[0]) == choice
    (op,) = load(folder, "op.waste.local_service_conf.precision=fp32").ops
    assert way(op) == replace(choice, form="")
    assert op.tuning.overridden == ("precision",)


@pytest.mark.parametrize(
    ("cpu", "reason"),
    [
        (replace(CPU, model="Xeon"), "it was measured on Xeon, and this is AMD EPYC (family 25)"),
        (replace(CPU, flags=("amx_int8", *FLAGS)), "this CPU lacks amx_int8"),
        (replace(CPU, flags=("avx2",)), "this CPU has avx512_vnni besides"),
    ],
)
def test_the_tuning_of_another_machine_is_a_warning(
    folder: Path, cpu: CpuFingerprint, reason: str
) -> None:
    tune(folder, cpu=cpu)
    settings = load(folder)
    (op,) = settings.ops
    assert (way(op), op.tuning.state) == (UNTUNED, "untuned")
    assert settings.warning is not None
    assert f"op.waste: tuning.yml is not taken: {reason}; measure" in settings.warning
    assert f"`{COMMAND} {folder / 'waste'}`" in settings.warning
    assert reason in op.tuning.text


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda server: (server / "inference.pdiparams").write_bytes(b"another model"),
            "the model has changed since",
        ),
        (
            lambda server: shutil.rmtree(server / "onnx-int8"),
            "the bundle has no form 'onnx-int8' any more",
        ),
    ],
)
def test_a_model_that_is_another_one_is_served_untuned(
    folder: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    server = folder / "waste" / "serving_server"
    (server / "onnx-int8").mkdir()
    (server / "onnx-int8" / "inference.onnx").write_bytes(b"a graph")
    tune(folder, replace(CHOICE, backend="onnxruntime", form="onnx-int8", precision="fp32"))
    spoil(server)
    settings = load(folder)
    assert way(settings.ops[0]) == UNTUNED
    assert settings.warning is not None
    assert reason in settings.warning


def test_a_runtime_that_is_not_installed_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(folder)
    missing = replace(registry.RUNTIMES["paddle"], package="no_such_package")
    monkeypatch.setitem(registry.RUNTIMES, "paddle", missing)
    settings = load(folder)
    assert way(settings.ops[0]) == UNTUNED
    assert "Paddle is not installed here (pip install -e '.[cpu]')" in (settings.warning or "")


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (replace(CHOICE, backend="evil"), "this kit has no runtime 'evil' for the CPU"),
        (replace(CHOICE, backend="onnxruntime"), "ONNX Runtime reads ONNX, and export is PIR"),
    ],
)
def test_a_choice_that_no_runtime_can_serve_is_a_warning(
    folder: Path, choice: TunedChoice, reason: str
) -> None:
    tune(folder, choice)
    settings = load(folder)
    assert way(settings.ops[0]) == UNTUNED
    assert reason in (settings.warning or "")


def test_with_another_quota_all_but_workers_and_threads_is_taken(folder: Path) -> None:
    tune(folder)
    settings = load(folder, quota="200000 100000")
    (op,) = settings.ops
    assert way(op) == replace(CHOICE, workers=2, threads=1)
    assert op.tuning.state == "partly"
    assert "measured with 4 cores, here are 2; measure here with `python" in (
        settings.warning or ""
    )
    # Where the configuration sets them, there is nothing to warn of.
    assert load(folder, "op.waste.concurrency=1", quota="200000 100000").warning is None


def test_services_share_the_cores(folder: Path) -> None:
    tune(folder)
    text = CONFIG + "  more: {local_service_conf: {model_config: waste}}\n"
    (folder / "config.yml").write_text(text, encoding="utf-8")
    settings = load(folder)
    expected = replace(CHOICE, workers=2, threads=1)
    assert [way(op) for op in settings.ops] == [expected, expected]
    assert "workers and threads by the service's share of the cores" in settings.ops[0].tuning.text
    assert settings.warning is None
    tune(folder, replace(CHOICE, threads=2))
    assert [way(op).threads for op in load(folder).ops] == [2, 2]


def test_a_gpu_serves_untuned(folder: Path) -> None:
    assert load(folder, 'op.waste.local_service_conf.devices="0"').ops[0].tuning.text == ""
    tune(folder)
    settings = load(folder, 'op.waste.local_service_conf.devices="0"')
    (op,) = settings.ops
    assert (op.classifier.backend, op.engine.batch_size, op.devices) == ("auto", 8, ("gpu:0",))
    assert op.tuning.text == "untuned: tuning.yml is for a CPU, and this service runs on a GPU"


def test_a_damaged_tuning_is_an_error_that_says_what_to_run(folder: Path) -> None:
    tuning_file(folder / "waste").write_text("choice: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"op.waste: .*tuning.yml.*run `python -m converter tune"):
        load(folder)
