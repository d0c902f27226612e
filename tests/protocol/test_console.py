"""`COMMAND | head` ends every command quietly, and a full disk ends it with a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("converter", "pipeline", "client", "tools", "examples", "benchmarks", "reliability")
# Processes that a command of ours starts and reads to their end.
STARTED = {
    "benchmarks/bare.py",
    "benchmarks/in_process.py",
    "benchmarks/load.py",
    "benchmarks/peers/servers/litserve_server.py",
    "benchmarks/peers/servers/mosec_server.py",
    "benchmarks/peers/servers/ray_serve_app.py",
    "converter/reading/reading_process.py",
    "converter/targets/lite_trial.py",
    "pipeline/engine/decoder.py",
    "pipeline/engine/worker.py",
    "reliability/attack/alone.py",
    "reliability/attack/probe.py",
    "reliability/faults/plain_service.py",
    "reliability/soak/probe.py",
}
# These import a framework that is not here.
ELSEWHERE = {"examples/with_paddleclas.py", "pipeline/hosts/paddle_serving/__main__.py"}
# Without options to describe.
WITHOUT_HELP = {"examples/demo.py", "pipeline/settings/docs.py"}


def commands() -> list[str]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return sorted(
        name
        for name in (str(path.relative_to(ROOT)) for path in found)
        if name not in STARTED and '__name__ == "__main__"' in (ROOT / name).read_text()
    )


def command_line(name: str) -> list[str]:
    if name.endswith("__main__.py"):
        return [sys.executable, "-m", str(Path(name).parent).replace("/", ".")]
    module = name.removesuffix(".py").replace("/", ".")
    if f'prog="python -m {module}"' in (ROOT / name).read_text():
        return [sys.executable, "-m", module]
    return [sys.executable, name]


def without_reader(*command: str, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `command` with its stdout into a pipe that nothing reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    try:
        return subprocess.run(
            command,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("name", commands())
def test_every_command_ends_in_the_one_way(name: str) -> None:
    assert re.search(r"^    sys\.exit\(as_command\(", (ROOT / name).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [n for n in commands() if n not in {*ELSEWHERE, *WITHOUT_HELP}])
def test_help_without_a_reader_ends_quietly(name: str) -> None:
    done = without_reader(*command_line(name), "--help")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ("-m", "converter", "inspect", "serving_model/waste"),
        ("-m", "converter", "inspect", "serving_model/waste", "--json"),
        ("-m", "pipeline.settings.docs"),
    ],
)
def test_output_without_a_reader_ends_quietly(command: tuple[str, ...], unbuffered: bool) -> None:
    done = without_reader(sys.executable, *command, unbuffered=unbuffered)
    assert (done.returncode, done.stderr) == (141, "")


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; from protocol.console import as_command\n{code}")


@pytest.mark.parametrize("text", ["'x'", "'x' * 100_000"])
def test_an_error_of_a_pipe_is_not_taken_for_one_of_a_file(text: str) -> None:
    """As `train` and `convert` catch OSError; the folders that they began are still removed."""
    code = f"""
import sys
def main():
    try:
        print({text}, flush=True)
    except OSError:
        print("error: give another path", file=sys.stderr)
        return 1
    finally:
        print("cleaned", file=sys.stderr)
        print("more" * 100_000)
    return 0
sys.exit(as_command(main))
"""
    done = without_reader(*python(code))
    assert (done.returncode, done.stderr) == (141, "cleaned\n")


@pytest.mark.parametrize(
    ("body", "code"),
    [("return 3", 3), ("return None", 0), ("import sys; sys.exit(4)", 4), ("print('é')", 0)],
)
def test_the_exit_code_is_that_of_main(body: str, code: int) -> None:
    done = subprocess.run(
        python(f"def main():\n    {body}\nsys.exit(as_command(main))"),
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert (done.returncode, done.stderr) == (code, b"")
    assert done.stdout == (b"\xe9\n" if "print" in body else b"")


def test_an_error_of_main_keeps_its_traceback() -> None:
    done = without_reader(
        *python("def main():\n    print('x')\n    1 / 0\nsys.exit(as_command(main))")
    )
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
@pytest.mark.parametrize("body", ["print('x')", "print('x', flush=True)", "print('x' * 100_000)"])
def test_a_full_disk_ends_it_with_a_reason(body: str) -> None:
    """Also where a command writes through, as rich does, and reports errors of its own files."""
    code = f"""
def main():
    try:
        {body}
    except OSError:
        print("error: give another path", file=sys.stderr)
sys.exit(as_command(main))
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            python(code),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to stdout: No space left on device\n"


def test_no_stdout_at_all() -> None:
    done = subprocess.run(
        ("sh", "-c", 'exec "$@" >&-', "sh", *python("sys.exit(as_command(lambda: 5))")),
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (5, b"")
