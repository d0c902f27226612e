"""What curl and requests send, as people call them: answered, or the error says what to send."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

requests = pytest.importorskip("requests")
CURL = shutil.which("curl")

Send = Callable[..., dict[str, Any]]


@pytest.fixture
def files(tmp_path: Path, images: list[bytes]) -> Path:
    """A folder of one image in the forms in which it is sent."""
    image = images[0]
    text = base64.b64encode(image).decode()
    body = json.dumps({"key": ["image"], "value": [text]}).encode()
    for name, content in {
        "a.jpg": image,
        "base64.txt": text.encode(),
        "lines.txt": base64.encodebytes(image),
        "form.txt": b"topk=2&image=" + text.encode(),
        "body.json": body,
        "body.json.gz": gzip.compress(body),
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def curl(tiny: Any, files: Path) -> Send:
    if CURL is None:
        pytest.skip("curl is not installed")

    def send(*arguments: str, query: str = "") -> dict[str, Any]:
        address = f"{tiny.url}/waste/prediction{query}"
        command = [str(CURL), "--silent", "--show-error", "--noproxy", "*", *arguments, address]
        done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    return send


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data-binary", "@a.jpg"],
        ["-H", "Content-Type:", "--data-binary", "@a.jpg"],
        ["-H", "Content-Type: text/plain", "--data-binary", "@a.jpg"],
        ["-T", "a.jpg", "-X", "POST"],
        ["-d", "@body.json"],
        ["-d", "@base64.txt"],
        ["--data-binary", "@lines.txt"],
        ["-d", "@form.txt"],
        ["--data-urlencode", "image@base64.txt"],
        ["--data-urlencode", "image@lines.txt", "-d", "topk=2"],
        ["-H", "Content-Encoding: gzip", "--data-binary", "@body.json.gz"],
        ["-F", "image=@a.jpg"],
        ["-F", "image=@a.jpg;type=image/jpeg;filename=图.jpg"],
        ["-F", "image=<a.jpg;type=image/jpeg"],
        ["-F", "image=<base64.txt", "-F", "topk=2"],
        ["-H", "Content-Type: multipart/form-data", "-F", "image=@a.jpg"],
        ["-H", "Content-Type: application/json", "-F", "image=@a.jpg"],
    ],
    ids=" ".join,
)
def test_curl_gets_an_answer(curl: Send, arguments: list[str]) -> None:
    fields = curl(*arguments)
    assert fields["err_no"] == 0, fields["err_msg"]
    (label,) = json.loads(fields["value"][0])
    assert label in ("red", "green", "blue")


@pytest.mark.parametrize(
    ("arguments", "query", "err_no", "reason"),
    [
        (["-d", "@a.jpg"], "", 5001, "--data-binary @FILE"),
        (["-H", "Content-Type: image/jpeg", "-d", "@a.jpg"], "", 5001, "--data-binary @FILE"),
        (["--data-binary", "@a.jpg"], "?top_k=3", 5000, "did you mean topk?"),
        (["-F", "image=@a.jpg", "-F", "topK=3"], "", 5000, "did you mean topk?"),
        (["-F", "image=@a.jpg", "-F", "imageType=normal"], "", 5000, "'normal') is no option"),
        (["-F", "image=a.jpg"], "", 5000, "the field 'image' ('a.jpg') is no option"),
        (["--data-binary", "@body.json.gz"], "", 5000, "add the header Content-Encoding: gzip"),
        (["-H", "Content-Encoding: br", "-d", "@body.json"], "", 5003, "br is not read"),
        (["-d", '{"image": "aGk="}'], "", 5000, "a request to PaddleX 3"),
    ],
    ids=range(9),
)
def test_curl_gets_an_error_that_says_what_to_send(
    curl: Send, arguments: list[str], query: str, err_no: int, reason: str
) -> None:
    fields = curl(*arguments, query=query)
    assert fields["err_no"] == err_no
    assert reason in fields["err_msg"]


def test_requests_in_the_forms_of_its_arguments(tiny: Any, files: Path) -> None:
    image, text = (files / "a.jpg").read_bytes(), (files / "base64.txt").read_text()
    envelope = {"key": ["image", "topk"], "value": [text, "2"]}
    with requests.Session() as session:
        session.trust_env = False
        for case, arguments in {
            "json": {"json": envelope},
            "dumps": {"data": json.dumps(envelope)},
            "data without dumps": {"data": envelope},
            "bytes": {"data": image},
            "an open file": {"data": io.BytesIO(image)},
            "a form": {"data": {"image": text}},
            "a file": {"files": {"image": io.BytesIO(image)}},
            "a file without a name": {"files": {"image": (None, image)}},
            "and a type": {"files": {"image": (None, image, "image/jpeg")}},
            "a name of other letters": {"files": {"image": ("图.jpg", image)}},
            "str of bytes": {"json": {"key": ["image"], "value": [str(text.encode())]}},
            "URL-safe": {"json": {"key": ["image"], "value": [text.translate({43: "-", 47: "_"})]}},
        }.items():
            fields = session.post(f"{tiny.url}/waste/prediction", **arguments).json()
            assert (case, fields["err_no"], fields["err_msg"]) == (case, 0, "")
            assert len(json.loads(fields["value"][0])) == 1, case
        twice = session.post(f"{tiny.url}/waste/prediction", json=json.dumps(envelope)).json()
        assert "it was encoded twice" in twice["err_msg"]
        shown = session.post(f"{tiny.url}/waste/prediction", data=str(envelope)).json()
        assert "Python's repr" in shown["err_msg"]
