"""The decode process of a worker: heavy images, budgets, deaths and rest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.engine.decode_process import DecodeProcess
from pipeline.engine.decoder import preparing
from protocol.errors import DeadlineExceeded, PredictionFailed, TooLarge, UndecodableImage
from tests.patience import PATIENCE_S

START: dict[str, Any] = {
    "kind": "start",
    "transform_ops": [
        {"ResizeImage": {"resize_short": 32}},
        {"CropImage": {"size": 24}},
        {"NormalizeImage": {"order": ""}},
        {"ToCHWImage": {}},
    ],
    "max_pixels": 50_000_000,
    "reduce_to": None,
}


@pytest.fixture(scope="module")
def heavy() -> bytes:
    """A PNG of 49 megapixels, in 163 KB."""
    return cv2.imencode(".png", np.full((7000, 7000, 3), 77, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def light() -> bytes:
    image = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture
def decoding() -> Iterator[DecodeProcess]:
    process = DecodeProcess(START)
    yield process
    process.close()


def prepared(decoding: DecodeProcess, image: bytes, budget_s: float = PATIENCE_S) -> Any:
    return decoding.prepared(image, budget_s, 2 * PATIENCE_S)


def pid(decoding: DecodeProcess) -> int:
    assert decoding._child is not None
    return decoding._child.pid


def test_it_gives_the_numbers_that_the_worker_would(decoding: DecodeProcess, light: bytes) -> None:
    assert decoding.rest_after_s is None
    array = prepared(decoding, light)
    assert array.dtype == np.float32
    assert np.array_equal(array, preparing(START)(light))
    assert decoding.last_s > 0
    assert decoding.rest_after_s


def test_bad_images_have_their_own_errors_and_end_nothing(
    decoding: DecodeProcess, light: bytes
) -> None:
    error = prepared(decoding, b"text")
    assert isinstance(error, UndecodableImage)
    first = pid(decoding)
    assert isinstance(prepared(decoding, light[:-20]), UndecodableImage)
    assert isinstance(prepared(decoding, b""), UndecodableImage)
    assert isinstance(prepared(decoding, light), np.ndarray)
    assert pid(decoding) == first


def test_the_limits_of_the_service_are_kept(light: bytes) -> None:
    process = DecodeProcess({**START, "max_pixels": 100})
    try:
        assert isinstance(prepared(process, light), TooLarge)
    finally:
        process.close()


def test_an_image_over_its_budget_fails_and_the_next_one_does_not(
    decoding: DecodeProcess, heavy: bytes, light: bytes
) -> None:
    prepared(decoding, light)
    first = pid(decoding)
    error = prepared(decoding, heavy, budget_s=0.01)
    assert isinstance(error, UndecodableImage)
    assert "could not be decoded within 0.01 s" in str(error)
    assert not Path(f"/proc/{first}").exists()
    assert isinstance(prepared(decoding, light), np.ndarray)


def test_a_stopped_decoder_costs_the_request_its_time_only(
    decoding: DecodeProcess, light: bytes
) -> None:
    for image in (light, light * 100_000):  # in the pipe, and more than fits
        prepared(decoding, light)
        os.kill(pid(decoding), signal.SIGSTOP)
        assert isinstance(decoding.prepared(image, PATIENCE_S, 0.1), UndecodableImage)
    assert isinstance(prepared(decoding, light), np.ndarray)


def test_the_start_is_no_fault_of_the_image(decoding: DecodeProcess, light: bytes) -> None:
    assert isinstance(decoding.prepared(light, 10.0, 0.0), DeadlineExceeded)
    first = pid(decoding)
    assert isinstance(prepared(decoding, light), np.ndarray)
    assert pid(decoding) == first


def test_it_starts_meanwhile_when_it_is_looked_for(decoding: DecodeProcess, light: bytes) -> None:
    assert not decoding.is_up()
    first = pid(decoding)
    deadline = time.monotonic() + PATIENCE_S
    while not decoding.is_up() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(prepared(decoding, light), np.ndarray)
    assert pid(decoding) == first


def test_a_decoder_that_dies_over_an_image_fails_it(
    decoding: DecodeProcess, light: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    prepared(decoding, light)
    first = pid(decoding)
    os.kill(first, signal.SIGSTOP)  # so that it has the image when it dies
    # A decoder ends with the thread that started it, so this thread is the one that prepares.
    killer = threading.Thread(target=os.kill, args=(first, signal.SIGKILL))
    killer.start()
    result = prepared(decoding, light)
    killer.join(PATIENCE_S)
    with contextlib.suppress(ChildProcessError):  # it is reaped already
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    # It may have died before the image came: then another one has decoded it.
    if not isinstance(result, np.ndarray):
        assert isinstance(result, PredictionFailed)
        assert "the decoder died over an image: ended by SIGKILL" in caplog.text
    assert isinstance(prepared(decoding, light), np.ndarray)


def test_one_that_died_while_it_was_idle_is_replaced(decoding: DecodeProcess, light: bytes) -> None:
    prepared(decoding, light)
    os.kill(pid(decoding), signal.SIGKILL)
    assert decoding._child is not None
    os.waitid(os.P_PID, pid(decoding), os.WEXITED | os.WNOWAIT)
    assert isinstance(prepared(decoding, light), np.ndarray)


def test_one_that_cannot_start_is_an_error_in_the_log(
    light: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    process = DecodeProcess({**START, "transform_ops": [{"Unknown": {}}]})
    try:
        assert isinstance(prepared(process, light), PredictionFailed)
        assert "the process ended while it started" in caplog.text
        deadline = time.monotonic() + PATIENCE_S
        while "does not start" not in caplog.text and time.monotonic() < deadline:
            assert not process.is_up()
            time.sleep(0.01)
        assert "the decode process does not start: the process ended" in caplog.text
    finally:
        process.close()


PARENT = """
import sys, time
from pipeline.engine.decode_process import DecodeProcess
from tests.pipeline.engine.test_decode_process import START
process = DecodeProcess(START)
process.prepared(b"x", 60.0, 60.0)
print(process._child.pid, flush=True)
time.sleep(3600)
"""


def test_it_dies_with_its_worker_and_has_no_runtime_and_no_core(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root
    ) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        loaded = Path(f"/proc/{number}/maps").read_text()
        assert "cv2" in loaded
        assert "paddle" not in loaded
        assert "onnxruntime" not in loaded
        links = [os.readlink(f"/proc/{number}/fd/{fd}") for fd in os.listdir(f"/proc/{number}/fd")]  # noqa: PTH115, PTH208
        assert not [link for link in links if link.startswith("socket")]
        limits = Path(f"/proc/{number}/limits").read_text().splitlines()
        (core,) = [line.split() for line in limits if "core file" in line]
        assert core[4] == "0"
        parent.kill()
    deadline = time.monotonic() + PATIENCE_S
    while _alive(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(number)


def _alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
