"""Graphs made to do harm: what they cost is bounded, and becomes one error."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundle.formats import ONNX, PDMODEL, PIR
from converter.errors import ConversionError
from converter.reading import apart
from converter.reading.apart import read_apart
from converter.reading.confinement import is_filtered
from converter.reading.graph_json import from_json, to_json
from converter.reading.program_graph import MESSAGES, read_graph
from pipeline.settings.machine import Machine
from tests.converter.conftest import SHAPES, program
from tests.patience import PATIENCE_S

FIRST_MIB = 512  # what any file may take


def write(folder: Path, functions: Sequence[object], first: str) -> Path:
    """An ONNX model that calls the function `first` of its own."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(first, ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 3, 4, 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)
    path = folder / "inference.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def function(name: str, nodes: Sequence[object]) -> object:
    helper = pytest.importorskip("onnx").helper
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def chain(kind: str, count: int, domain: str = "own") -> list[object]:
    """An operator `count` times, one behind the other, from a to b."""
    make = pytest.importorskip("onnx").helper.make_node
    names = ["a", *(f"t{n}" for n in range(count - 1)), "b"]
    return [make(kind, [names[n]], [names[n + 1]], domain=domain) for n in range(count)]


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    path = write(tmp_path, [function("F", chain("F", 1))], "F")
    with pytest.raises(ConversionError, match=r"functions call themselves \(own::F\).*export the"):
        read_apart(ONNX, path)


def test_functions_that_call_each_other_in_a_circle(tmp_path: Path) -> None:
    path = write(tmp_path, [function("F", chain("G", 2)), function("G", chain("F", 2))], "F")
    with pytest.raises(ConversionError, match="functions call themselves"):
        read_apart(ONNX, path)


def test_ten_nested_functions(tmp_path: Path) -> None:
    functions = [function("F0", chain("Relu", 1, ""))]
    functions += [function(f"F{n}", chain(f"F{n - 1}", 10)) for n in range(1, 10)]
    path = write(tmp_path, functions, "F9")
    assert path.stat().st_size < 4096
    with pytest.raises(ConversionError, match="come to more than 200000 operators"):
        read_apart(ONNX, path)


def test_functions_that_call_each_other_a_thousand_deep(tmp_path: Path) -> None:
    functions = [function("F0", chain("Relu", 1, ""))]
    functions += [function(f"F{n}", chain(f"F{n - 1}", 1)) for n in range(1, 1000)]
    with pytest.raises(ConversionError, match="call each other more than 64 deep"):
        read_apart(ONNX, write(tmp_path, functions, "F999"))


def test_functions_of_an_exporter_are_written_out(tmp_path: Path) -> None:
    functions = [function("F0", chain("Relu", 3, "")), function("F1", chain("F0", 3))]
    assert read_apart(ONNX, write(tmp_path, functions, "F1")).fetches[0].name == "y"


def test_the_memory_of_reading_is_bounded_by_the_size_of_the_file(tmp_path: Path) -> None:
    """A constant of 1 MiB that each of 4,000 operators becomes a copy of: 4 GiB without a bound."""
    onnx = pytest.importorskip("onnx")
    constant = onnx.helper.make_tensor("c", onnx.TensorProto.UINT8, [1 << 20], bytes(1 << 20), True)
    one = [
        onnx.helper.make_node("Constant", [], ["c"], value=constant),
        *chain("Relu", 1, ""),
    ]
    functions = [function("F0", one), function("F1", chain("F0", 4000))]
    path = write(tmp_path, functions, "F1")
    with pytest.raises(ConversionError, match=r"memory|ended the process") as caught:
        read_apart(ONNX, path)
    assert f"{FIRST_MIB + 8 * path.stat().st_size // 2**20}" in str(caught.value)


@pytest.mark.parametrize("form", [PIR, PDMODEL, ONNX], ids=lambda form: form.name)
def test_a_file_of_holes_is_not_read_into_memory(tmp_path: Path, form: object) -> None:
    """A terabyte on no disk allows no more memory than an empty file does."""
    if form is ONNX:
        pytest.importorskip("onnx")
    path = tmp_path / form.model_file  # type: ignore[attr-defined]
    with path.open("wb") as file:
        file.write(b" ")
        file.truncate(1 << 40)
    with pytest.raises(ConversionError, match=rf"takes more than {FIRST_MIB} MiB of memory"):
        read_apart(form, path)  # type: ignore[arg-type]


def test_json_of_many_values(tmp_path: Path) -> None:
    """Each byte of it becomes twenty of objects, and its memory is counted as any other."""
    path = tmp_path / "inference.json"
    path.write_text(
        '{"base_code": {"magic": "pir"}, "a": [' + "[[[[[[[[]]]]]]]]," * 2_000_000 + "[]]}"
    )
    with pytest.raises(ConversionError, match="MiB of memory"):
        read_apart(PIR, path)


def test_a_machine_with_little_memory_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is mapped takes address space, and no memory that must be free."""
    path = tmp_path / "inference.json"
    path.write_text(
        '{"base_code": {"magic": "pir"}, "a": [' + "[[[[[[[[]]]]]]]]," * 2_000_000 + "[]]}"
    )
    monkeypatch.setattr(Machine, "free_bytes", lambda _machine: 0)
    free = FIRST_MIB + (path.stat().st_size >> 20)
    with pytest.raises(ConversionError, match=rf"the {free} MiB that are free; look") as caught:
        read_apart(PIR, path)
    assert "harm" not in str(caught.value)


def test_a_limit_of_memory_of_the_shell_is_no_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "inference.json"
    path.write_text(
        '{"base_code": {"magic": "pir"}, "a": [' + "[[[[[[[[]]]]]]]]," * 2_000_000 + "[]]}"
    )
    command = 'ulimit -v 600000; exec "$0" -m converter inspect "$1"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "MiB that are free; look at it where more is free" in done.stderr, done.stderr


def test_reading_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_SECONDS", 1)
    monkeypatch.setattr(apart, "_MEMORY", 8 << 30)
    path = tmp_path / "inference.json"
    path.write_text(
        '{"base_code": {"magic": "pir"}, "a": [' + "[[[[[[[[]]]]]]]]," * 4_000_000 + "[]]}"
    )
    monkeypatch.setattr(apart, "_BYTES_A_SECOND", 1 << 40)
    with pytest.raises(ConversionError, match="takes more than 1 seconds of computing time"):
        read_apart(PIR, path)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_reader_that_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Another program in its place, which ends as native code does."""
    crash = tmp_path / "python"
    crash.write_text(f"#!/bin/sh\nkill -{number.value} $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    (tmp_path / "inference.json").write_text("{}")
    with pytest.raises(ConversionError, match=rf"ended the process .*{number.name}.*do not serve"):
        read_apart(PIR, tmp_path / "inference.json")


@pytest.mark.parametrize(
    "reply",
    ["", "[]", '{"graph": []}', '{"graph": {"feeds": 1}}', "x" * 100, "[" * 100_000],
)
def test_a_reader_that_was_taken_over_and_replies_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    (tmp_path / "reply").write_text(reply + "\n")
    crash = tmp_path / "python"
    crash.write_text(f"#!/bin/sh\ncat '{tmp_path}/reply'\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    (tmp_path / "inference.json").write_text("{}")
    with pytest.raises(ConversionError, match=r"inference\.json: (cannot be|reading it)"):
        read_apart(PIR, tmp_path / "inference.json")


def test_a_package_that_is_broken_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "onnxruntime.py").write_text("raise OSError('libonnxruntime.so: too short')")
    monkeypatch.syspath_prepend(str(packages))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ConversionError, match=r"needs onnxruntime.*too short.*install it again"):
        read_apart(ONNX, tmp_path / "model.onnx")


def test_a_reply_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nexec yes\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    monkeypatch.setattr(apart, "_LARGEST_REPLY", 1 << 20)
    (tmp_path / "inference.json").write_text("{}")
    with pytest.raises(ConversionError, match=r"inference\.json: reading it"):
        read_apart(PIR, tmp_path / "inference.json")


def test_a_graph_is_the_same_on_the_way_through_json(tmp_path: Path) -> None:
    path = tmp_path / "inference.pdmodel"
    path.write_bytes(program(SHAPES))
    graph = read_graph(path)
    assert read_apart(PDMODEL, path) == graph
    assert from_json(json.loads(to_json(graph, tmp_path)), tmp_path) == graph


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data_files", ["../../etc/passwd"]),
        ("data_files", ["/etc/passwd"]),
        ("feeds", []),
        ("feeds", [["x", "float32", [2**70], False, []]]),
        ("feeds", [["x", "float32", [1] * 65, False, []]]),
        ("feeds", [[1, "float32", [1], False, []]]),
        ("white", "255"),
        ("metadata", {"a": 1}),
    ],
)
def test_a_graph_with_values_that_no_reader_writes(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "inference.pdmodel"
    path.write_bytes(program(SHAPES))
    document = {**json.loads(to_json(read_graph(path), tmp_path)), key: value}
    with pytest.raises((ValueError, TypeError)):
        from_json(document, tmp_path)


def test_a_copy_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, copy = tmp_path / "a/inference.pdmodel", tmp_path / "b/inference.pdmodel"
    for path in (first, copy):
        path.parent.mkdir()
        path.write_bytes(program(SHAPES))
    graph = read_apart(PDMODEL, first)
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *given, **named: started.append(1) or real(*given, **named)
    )
    assert read_apart(PDMODEL, copy) == graph
    assert not started
    changed = MESSAGES["ProgramDesc"]()
    changed.ParseFromString(program(SHAPES))
    changed.blocks[0].ops[1].type = "mul"
    size = copy.stat().st_size
    copy.write_bytes(changed.SerializeToString())
    read_apart(PDMODEL, copy)
    assert started, f"{size} and {copy.stat().st_size} bytes"


RIGHTS = """
import ctypes, fcntl, json, os, resource, signal, socket, sys, termios, threading
from converter.reading.confinement import Limits, confine
folder = sys.argv[1]
confine(Limits(256 << 20, 60))
def tried(run):
    try:
        run()
    except (OSError, MemoryError, ValueError) as error:  # ValueError: of a limit, not permitted
        return type(error).__name__
    return "done"
def queue_signal():  # which has no function in Python: si_code -1 says that it was queued
    libc = ctypes.CDLL(None, use_errno=True)
    info = (ctypes.c_int * 32)(0, 0, -1)
    number = {"x86_64": 129, "aarch64": 138}[os.uname().machine]
    if libc.syscall(number, os.getppid(), 0, info):
        raise OSError(ctypes.get_errno(), "refused")
pipe = os.pipe()[0]
found = {
    "read": tried(lambda: open(f"{folder}/file").read()),
    "write": tried(lambda: open(f"{folder}/new", "w").write("x")),
    "append": tried(lambda: open(f"{folder}/file", "a").write("x")),
    "truncate": tried(lambda: os.truncate(f"{folder}/file", 0)),
    "remove": tried(lambda: os.unlink(f"{folder}/file")),
    "rename": tried(lambda: os.rename(f"{folder}/file", f"{folder}/other")),
    "rights": tried(lambda: os.chmod(f"{folder}/file", 0o777)),
    "folder": tried(lambda: os.mkdir(f"{folder}/new")),
    "network": tried(socket.socket),
    "process": tried(os.fork),
    "program": tried(lambda: os.execv("/bin/true", ["true"])),
    "signal": tried(lambda: os.kill(os.getppid(), 0)),
    "queued signal": tried(queue_signal),
    "signal of a pipe": tried(lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getppid())),
    "limits of others": tried(
        lambda: resource.prlimit(
            os.getppid(), resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)
        )
    ),
    "own limits": tried(lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 1))),
    "priority of others": tried(lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)),
    "cores of others": tried(
        lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid()))
    ),
    "device": tried(lambda: fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))),
    "thread": tried(lambda: threading.Thread(target=int).start()),
    "memory": tried(lambda: bytearray(300 << 20)),
    "some memory": tried(lambda: bytearray(100 << 20)),
}
print(json.dumps(found))
"""


@pytest.mark.skipif(not is_filtered(), reason="seccomp needs a 64-bit Linux on x86 or ARM")
def test_the_process_has_no_rights(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", RIGHTS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    found = json.loads(done.stdout)
    assert found.pop("memory") == "MemoryError"
    found.pop("thread")  # of a user other than root it counts as a process
    assert [name for name in found if found[name] == "done"] == ["read", "some memory"]
    assert (tmp_path / "file").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_process_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "secret")
    assert "secret" not in json.dumps(apart._environment())


def test_the_process_has_no_file_open_for_writing(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry opens a database when it is imported."""
    pytest.importorskip("onnxruntime")
    command = (
        "import onnxruntime, os; "
        "print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{n}')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={**apart._environment(), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert "onnxruntime.db" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_modules_of_the_working_folder_are_not_imported(tmp_path: Path) -> None:
    """`cd stranger && python -m converter inspect .`, where a yaml.py lies beside the model."""
    (tmp_path / "inference.pdmodel").write_bytes(program({}))
    (tmp_path / "inference.pdiparams").write_bytes(b"")
    for name in ("yaml", "rich", "onnx", "google"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')")
    done = subprocess.run(
        [sys.executable, "-m", "converter", "inspect", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert not (tmp_path / "ran").exists()
    assert "graph" in done.stdout, done.stderr
