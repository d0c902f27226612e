"""Serving writes no file: not the bundle, not beside it, not where it was started."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from tests.patience import PATIENCE_S


def test_nothing_is_written_and_nothing_is_open_for_writing(
    start_service: Any, root: Path, images: list[bytes], tmp_path: Path
) -> None:
    shutil.copytree(root / "serving_model" / "waste", tmp_path / "waste")
    config = tmp_path / "config.yml"
    config.write_text("op: {waste: {concurrency: 1, local_service_conf: {model_config: waste}}}")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".cache" / "paddle" / "dataset").mkdir(parents=True)  # Paddle makes it if it is missing
    before = snapshot(tmp_path)
    environment = {"TMPDIR": str(home), "HOME": str(home)}
    with start_service(config, environment=environment) as service:
        with HttpClient(service.url) as http, RpcClient(service.endpoint) as rpc:
            assert http.classify(images[0]) == rpc.classify(images[0])
            answer = httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S)
            assert answer.json()["status"] == "reloaded"
            http.classify(images[1])
            for pid in (service.process.pid, *service.workers()):
                assert set(written_to(pid)) == set()
        assert service.stop() == 0
    assert snapshot(tmp_path) == before


def test_the_look_at_descriptors_finds_one_that_is_written_to(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec 3>"$0" && echo begun && read -r _', str(tmp_path / "file")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        assert list(written_to(process.pid)) == [tmp_path / "file"]
        process.stdin.close()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with the time of its last change, of content or of mode."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ctime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def written_to(pid: int) -> Iterator[Path]:
    """Yield the regular files that a process has open for writing."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it may just have been closed
            target = descriptor.readlink()
            info = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text(encoding="ascii")
            flags = int(info.split("flags:")[1].split()[0], 8)
            # An anonymous file in memory (memfd, a library's own) has no place in a folder.
            if target.is_file() and flags & os.O_ACCMODE != os.O_RDONLY:
                yield target
