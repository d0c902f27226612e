"""`python tests/fuzz/run.py [TARGET ...] [--seconds S]`: look for bytes that break a target.

Each target runs under atheris in a process of its own; what breaks it is kept in build/fuzz/found,
and a later run of `python tests/fuzz/run.py TARGET --input FILE` shows it again. Exit code 1 if
anything was found.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUTPUT = ROOT / "build" / "fuzz"
sys.path[:0] = [str(ROOT), str(HERE)]


def main() -> int:
    """Run the targets that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each target (default: 30)")
    parser.add_argument("--input", type=Path, help="run one target over this file alone")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _fuzz(options.targets[0], options.seconds)
    from fuzz_targets import TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown or (options.input and len(options.targets) != 1):
        parser.error(f"the targets are {', '.join(TARGETS)}; --input goes with one of them")
    if options.input:
        TARGETS[options.targets[0]].run(options.input.read_bytes())
        print("nothing happened: the target survives it")
        return 0
    try:
        import atheris  # noqa: F401 - whether it is there
    except ImportError:
        print("error: atheris is not installed (it needs Python 3.11 or newer)", file=sys.stderr)
        return 2
    return max([_run(name, options.seconds) for name in options.targets or TARGETS])


def _run(name: str, seconds: float) -> int:
    began = time.monotonic()
    print(f"{name:<16}", end="", flush=True)
    command = [sys.executable, str(HERE / "run.py"), name, "--child", "--seconds", str(seconds)]
    # The fuzzer leaves without cleaning up, so its temporary files get a folder that goes with it.
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    elapsed = time.monotonic() - began
    if done.returncode == 0:
        print(f"{runs[-1] if runs else '?':>10} inputs in {elapsed:.0f} s, nothing found")
        return 0
    kept = re.findall(r"Test unit written to (\S+)", done.stderr)
    print(f"found after {elapsed:.0f} s: {kept[-1] if kept else 'see below'}")
    print(done.stderr[-3000:])
    return 1


def _fuzz(name: str, seconds: float) -> int:
    import atheris

    with atheris.instrument_imports(include=["protocol", "bundle", "pipeline", "fuzz_targets"]):
        import fuzz_targets
    target = fuzz_targets.TARGETS[name]
    corpus, found = OUTPUT / "corpus" / name, OUTPUT / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-max_total_time={max(1, round(seconds))}",
        f"-artifact_prefix={found}/{name}-",
        # Libraries take 0.1 GB. What is looked at once a second would miss most of what takes 3 GB.
        "-rss_limit_mb=1000",
        "-timeout=20",
        "-max_len=20000",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
