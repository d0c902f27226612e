"""Releases that are switched by a symbolic link: after a reload everything is of the new one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.conftest import Service
from tests.e2e.test_reload import reload, status, wait_for
from tests.patience import PATIENCE_S

CONFIG = """\
http_port: 0
rpc_port: 0
host: 127.0.0.1
api_keys: keys.yml
op:
  waste:
    concurrency: 1
    timeout: 60000
    topk: {topk}
    labels: labels.txt
    classifier: kinds:Kind
    local_service_conf:
      model_config: model
"""
KIND = """\
from dataclasses import replace

from pipeline.classifier import Classifier

class Kind(Classifier):
    def postprocess(self, scores, topk, threshold):
        best = super().postprocess(scores, topk, threshold)
        return tuple(replace(category, label=category.label + "{suffix}") for category in best)
"""
KEY = "0123456789abcdef"


@pytest.fixture
def releases(tiny_model: Path, tmp_path: Path) -> Path:
    """Two releases, each with a configuration, a bundle, labels, keys and a class of its own.

    `current` is a link to the first.
    """
    for number in (1, 2):
        folder = tmp_path / "releases" / str(number)
        shutil.copytree(tiny_model, folder / "model")
        record = folder / "model" / "serving_server" / "inference.yml"
        text = record.read_text(encoding="utf-8")
        record.write_text(f"# release {number}\n{text}", encoding="utf-8")
        (folder / "labels.txt").write_text("".join(f"{number}-{i}\n" for i in range(3)))
        (folder / "keys.yml").write_text(f"caller: {KEY}{number}\n")
        (folder / "keys.yml").chmod(0o600)
        (folder / "kinds.py").write_text(KIND.format(suffix=f" of {number}"))
        (folder / "config.yml").write_text(CONFIG.format(topk=number))
    switch(tmp_path, 1)
    return tmp_path


def switch(root: Path, number: int) -> None:
    """Let `current` lead to a release, in one step."""
    (root / "next").symlink_to(root / "releases" / str(number))
    (root / "next").replace(root / "current")


class Started(Service):
    """`python -m pipeline`, started by a shell in a folder."""

    def __init__(self, root: Path, folder: Path, config: str) -> None:
        program = f"cd '{folder}' && exec '{sys.executable}' -m pipeline --config {config}"
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            ["sh", "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.err = [], []
        self._readers = self.read_output()


@pytest.fixture
def start(root: Path) -> Callable[..., Any]:
    @contextlib.contextmanager
    def begin(folder: Path, config: str) -> Iterator[Service]:
        service = Started(root, folder, config)
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.close()

    return begin


def classify(service: Service, image: bytes, key: int) -> list[str]:
    """Return the labels of the reply."""
    reply = httpx.post(
        f"{service.url}/waste/prediction",
        content=image,
        headers={"X-API-Key": f"{KEY}{key}", "Content-Type": "image/jpeg"},
        timeout=PATIENCE_S,
    )
    assert reply.status_code == 200, reply.text
    content = dict(zip(reply.json()["key"], reply.json()["value"], strict=True))
    return [category["label"] for category in json.loads(content["topk"])[0]]


@pytest.mark.parametrize("how", ["absolute", "relative", "from-elsewhere"])
def test_a_reload_after_the_switch_of_a_release_takes_everything_of_the_new_one(
    releases: Path, start: Any, images: list[bytes], how: str
) -> None:
    current = releases / "current"
    folder = releases if how == "from-elsewhere" else current
    if how == "from-elsewhere":
        # Then the class is found by the module path only, which follows the working folder.
        folder = releases / "releases" / "1"
    config = "config.yml" if how == "relative" else str(current / "config.yml")
    with start(folder, config) as service:
        assert {label.split("-")[0] for label in classify(service, images[0], 1)} == {"1"}
        switch(releases, 2)
        report = reload(service).json()
        assert report["status"] == "reloaded"
        served = report["served"]["waste"]
        new = releases / "releases" / "2"
        assert served["bundle"] == str(new / "model")
        model = new / "model" / "serving_server" / "inference.onnx"
        assert served["model"] == {"file": str(model), "sha256": sha256(model)}
        labels = new / "labels.txt"
        assert served["labels"] == {"file": str(labels), "sha256": sha256(labels)}
        labels_seen = classify(service, images[0], 2)
        assert len(labels_seen) == 2  # topk
        assert {label.split("-")[0] for label in labels_seen} == {"2"}
        ends = {label.split(" ")[-1] for label in labels_seen}
        assert ends == {"1" if how == "from-elsewhere" else "2"}
        code = folder.resolve() / "kinds.py"
        assert served["classifier"] == {"file": str(code), "sha256": sha256(code)}
        known = status(service)
        assert known["file"] == str(new / "config.yml")
        assert known["services"][0]["served"] == served
        refused = httpx.post(
            f"{service.url}/waste/prediction",
            content=images[0],
            headers={"X-API-Key": f"{KEY}1"},
            timeout=PATIENCE_S,
        )
        assert refused.status_code == 401
        # The two releases have the same graph; their descriptions differ.
        assert report["as_before"]["waste"] == (
            ["model", "classifier"] if how == "from-elsewhere" else ["model"]
        )
        log = "".join(service.err)
        assert f"reloaded {new / 'config.yml'}" in log
        assert f"labels {labels} (sha256 {sha256(labels)[:12]})" in log


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_worker_that_is_started_again_stays_with_its_release_until_the_reload(
    releases: Path, start: Any, images: list[bytes]
) -> None:
    current = releases / "current"
    with start(current, str(current / "config.yml")) as service:
        before = classify(service, images[0], 1)
        switch(releases, 2)
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: service.workers() not in ([], [worker]))
        assert classify(service, images[0], 1) == before


def test_workers_start_again_when_the_working_folder_is_gone(
    releases: Path, root: Path, images: list[bytes]
) -> None:
    """The folder of a release is deleted under the service, which was started in it."""
    old, new = releases / "releases" / "1", releases / "releases" / "2"
    (old / "work").mkdir()
    text = (new / "config.yml").read_text().replace("    classifier: kinds:Kind\n", "")
    (new / "config.yml").write_text(text)
    service = Started(root, old / "work", str(new / "config.yml"))
    try:
        service.wait_until_ready()
        before = classify(service, images[0], 2)
        (old / "work").rmdir()
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: service.workers() not in ([], [worker]))
        assert classify(service, images[0], 2) == before
        wait_for(lambda: str(old / "work") in "".join(service.err))
        report = reload(service)
        assert (report.status_code, report.json()["status"]) == (200, "reloaded")
        assert classify(service, images[0], 2) == before
    finally:
        service.close()


def test_a_class_that_changes_on_disk_waits_for_the_reload(
    releases: Path, start: Any, images: list[bytes]
) -> None:
    current = releases / "current"
    text = (current / "config.yml").read_text().replace("concurrency: 1", "concurrency: 2")
    (current / "config.yml").write_text(text)
    with start(current, str(current / "config.yml")) as service:

        def workers(key: str) -> list[str]:
            return [worker[key] or "" for worker in status(service)["services"][0]["workers"]]

        wait_for(lambda: workers("state") == ["idle", "idle"])
        before = classify(service, images[0], 1)
        (current / "kinds.py").write_text(KIND.format(suffix=" anew"))
        os.kill(service.workers()[0], signal.SIGKILL)
        wait_for(lambda: any("kinds.py); reload to take it" in cause for cause in workers("cause")))
        assert {tuple(classify(service, images[0], 1)) for _ in range(8)} == {tuple(before)}
        assert reload(service).json()["status"] == "reloaded"
        assert classify(service, images[0], 1)[0].endswith(" anew")


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def test_certificates_behind_links_are_renewed_by_a_reload(
    start_any_service: Any, tiny_config: Path, tmp_path: Path
) -> None:
    """As certbot has them: live/cert.pem is a link, after each renewal to another file."""
    for number in (1, 2):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN=cert{number}"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(tmp_path / f"key{number}.pem")),
                *("-out", str(tmp_path / f"cert{number}.pem")),
            ],
            check=True,
            capture_output=True,
        )
        (tmp_path / f"key{number}.pem").chmod(0o600)
    for kind in ("key", "cert"):
        (tmp_path / f"{kind}.pem").symlink_to(f"{kind}1.pem")
    tls = (
        f"tls.certificate={tmp_path / 'cert.pem'}",
        f"tls.key={tmp_path / 'key.pem'}",
        "op.waste.concurrency=1",
    )
    with start_any_service(tiny_config, *tls) as service:
        url = f"https://127.0.0.1:{service.http_port}/health/ready"
        assert httpx.get(url, verify=trusting(tmp_path / "cert1.pem")).status_code == 200
        for kind in ("key", "cert"):
            (tmp_path / f"{kind}.pem").unlink()
            (tmp_path / f"{kind}.pem").symlink_to(f"{kind}2.pem")
        assert reload(service).json()["status"] == "reloaded"
        assert httpx.get(url, verify=trusting(tmp_path / "cert2.pem")).status_code == 200


def test_a_path_that_only_the_working_folder_has_is_taken_with_a_warning(
    tiny_model: Path, root: Path, tmp_path: Path
) -> None:
    """As Paddle Serving 0.9 has it; a reload takes no other path from there."""
    work, elsewhere = tmp_path / "work", tmp_path / "etc" / "serving"
    shutil.copytree(tiny_model, work / "model")
    elsewhere.mkdir(parents=True)
    op = {"concurrency": 1, "local_service_conf": {"model_config": "model"}}
    tree: dict[str, Any] = {"http_port": 0, "host": "127.0.0.1", "op": {"waste": op}}
    (elsewhere / "config.yml").write_text(yaml.safe_dump(tree))
    service = Started(root, work, str(elsewhere / "config.yml"))
    try:
        service.wait_until_ready()
        assert f"model_config is {work / 'model'}; write paths relative" in "".join(service.err)
        assert reload(service).json()["status"] == "reloaded"
        (work / "labels.txt").write_text("a\nb\nc\n")
        tree["op"]["waste"]["labels"] = "labels.txt"
        (elsewhere / "config.yml").write_text(yaml.safe_dump(tree))
        error = reload(service).json()["error"]
        assert "op.waste.labels: there is no labels.txt in " in error
    finally:
        service.close()
