"""The commands of both clients: once as they are typed, then in the process of the tests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.classify_client import Outcome
from client.errors import Unreachable
from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import main as rpc_client
from tests.patience import PATIENCE_S

COMMANDS = {
    "http": ["client/http_client.py", "--url"],
    "rpc": ["client/rpc_client.py", "--endpoint"],
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, content in (("a.jpg", "can"), ("b.PNG", "bottle"), ("sub/c.webp", "纸")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(in_process: Call) -> Call:
    """A function: wire, address, arguments -> exit code and output of the command."""
    mains = {"http": (http_client, "--url"), "rpc": (rpc_client, "--endpoint")}

    def run(wire: str, address: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        main, option = mains[wire]
        return in_process(main, option, address, *arguments)

    return run


def typed(
    root: Path, wire: str, address: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    script, option = COMMANDS[wire]
    return subprocess.run(
        [sys.executable, str(root / script), option, address, *map(str, arguments)],
        cwd="/",
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(params=["http", "rpc"])
def wire(request: pytest.FixtureRequest) -> tuple[str, str]:
    address = request.getfixturevalue("url" if request.param == "http" else "endpoint")
    return request.param, address


def test_people_get_a_table(root: Path, wire: tuple[str, str], images: Path) -> None:
    done = typed(root, *wire, images)
    assert done.returncode == 0, done.stderr
    for shown in ("a.jpg", "can 0", "b.PNG", "bottle 0", "c.webp", "纸 0", "0.9"):
        assert shown in done.stdout
    assert "notes.txt" not in done.stdout
    assert not done.stderr


def test_scripts_get_lines_of_json(call: Call, wire: tuple[str, str], images: Path) -> None:
    done = call(*wire, images / "sub" / "c.webp", images / "a.jpg", "--json", "--topk", 2)
    assert done.returncode == 0, done.stderr
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {
        "image": str(images / "sub" / "c.webp"),
        "topk": [
            {"class_id": 0, "label": "纸 0", "score": pytest.approx(0.9)},
            {"class_id": 1, "label": "纸 1", "score": pytest.approx(0.45)},
        ],
        "error": None,
    }
    assert second["image"].endswith("a.jpg")
    assert "纸" in done.stdout


def test_an_image_that_fails_has_its_reason_and_the_others_their_categories(
    call: Call, wire: tuple[str, str], images: Path
) -> None:
    (images / "bad.jpg").write_bytes(b"bad")
    done = call(*wire, images, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["error"] is None for line in lines].count(True) == 3
    (failed,) = [line for line in lines if line["error"]]
    assert failed["topk"] == []
    assert "5001" in failed["error"]
    assert "looks like text" in failed["error"]
    assert "looks like text" in call(*wire, images).stdout


def test_no_server_is_exit_code_2_with_a_hint(call: Call, free_port: int, images: Path) -> None:
    for name, address in (
        ("http", f"http://127.0.0.1:{free_port}"),
        ("rpc", f"127.0.0.1:{free_port}"),
    ):
        done = call(name, address, images / "a.jpg")
        assert done.returncode == 2
        assert "cannot reach" in done.stderr
        assert "make serve" in done.stderr
        assert "Traceback" not in done.stderr


def test_images_that_a_lost_service_leaves_are_counted(
    call: Call, url: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_client: HttpClient, sources: list[Path], *_: object, **__: object) -> list[Outcome]:
        results = [(), Unreachable("cannot reach it"), Unreachable("cannot reach it")]
        return [Outcome(*pair, 0.1) for pair in zip(sources, results, strict=True)]

    monkeypatch.setattr(HttpClient, "classify_many", lost)
    done = call("http", url, images)
    assert done.returncode == 2
    assert "2 of 3 images are not classified" in done.stderr


def test_rpc_to_an_http_port_is_reported_as_such(call: Call, url: str, images: Path) -> None:
    done = call("rpc", url.removeprefix("http://"), images / "a.jpg")
    assert done.returncode != 0
    assert "RPC port" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--topk", "0"], ["--timeout", "never"], ["--jobs", "x"], ["--what"]],
)
def test_a_wrong_call_is_exit_code_2(call: Call, url: str, arguments: list[str]) -> None:
    done = call("http", url, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize(
    ("address", "path"), [(None, "nowhere.jpg"), (None, "sub"), ("ftp://here", "a.jpg")]
)
def test_what_cannot_be_classified_is_one_line(
    call: Call, url: str, images: Path, address: str | None, path: str
) -> None:
    (images / "sub" / "c.webp").unlink()
    done = call("http", address or url, images / path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: .+\n", done.stderr), done.stderr


def test_without_an_image_the_samples_are_sent(call: Call, root: Path, url: str) -> None:
    done = call("http", url, "--json")
    samples = sorted((root / "examples" / "images").glob("*.jpg"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == len(samples) > 0


@pytest.mark.parametrize(
    ("form", "right"),
    [
        ("paddlex", [{"category_id": 0, "category": "纸 0", "score": 0.9}]),
        ("result", {"result": "纸 0"}),
    ],
)
def test_programs_of_the_tutorials_get_their_form(
    call: Call, wire: tuple[str, str], images: Path, form: str, right: object
) -> None:
    (images / "bad.jpg").write_text("bad", encoding="utf-8")
    paths = [images / "sub" / "c.webp", images / "bad.jpg"]
    done = call(*wire, *paths, "--form", form, "--topk", 1)
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0] == right
    assert list(answers[1]) == ["error"]
    assert answers[1]["error"].startswith("err_no 5001: ")
    assert call(*wire, *paths, "--form", "yaml").returncode == 2
