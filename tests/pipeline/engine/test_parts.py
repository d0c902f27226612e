"""The engine's small parts, each by itself."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct

import pytest

from pipeline.engine.channel import Channel
from pipeline.engine.command import WorkerCommand
from pipeline.engine.frames import FrameBuffer, FrameError, batch_header, pack, read_frame
from pipeline.engine.output import OutputRelay
from pipeline.engine.worker import one_line
from pipeline.settings.engine import EngineSettings
from protocol.errors import InvalidRequest
from protocol.request import EncodedImage, encoded
from tests.patience import PATIENCE_S

# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"batch_size": 0},
        {"queue_size": 0},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"start_timeout_s": -1.0},
        {"retries": -1},
        {"auto_batching_timeout_s": -0.1},
    ],
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EngineSettings(**wrong)


# --- frames --------------------------------------------------------------------------------------


def test_frames_pass_in_any_chunks():
    stream = b"".join(pack({"kind": "k", "n": n, "text": "可回收物"}) for n in range(5))
    for size in (1, 7, 13, len(stream)):
        buffer = FrameBuffer()
        frames = []
        for begin in range(0, len(stream), size):
            frames += buffer.feed(stream[begin : begin + size])
        assert [frame.header["n"] for frame in frames] == list(range(5))
        assert frames[0].header["text"] == "可回收物"


def test_read_frame_gives_header_and_images_then_the_end():
    images = [EncodedImage(b"abc", 3, 0.5), EncodedImage(b""), EncodedImage(b"d")]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack(batch_header(7, images, [0, 8, 9]), 4) + b"abcd" + pack({"kind": "next"}))
        ours.shutdown(socket.SHUT_WR)
        frame = read_frame(theirs)
        assert (frame.header["number"], frame.header["log_ids"]) == (7, [0, 8, 9])
        assert frame.images == images
        assert read_frame(theirs).header == {"kind": "next"}
        assert read_frame(theirs) is None


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack("<QI", 0, 2**31),
        struct.pack("<QI", 0, 2) + b"[]",
        struct.pack("<QI", 0, 2) + b"\xff{",
        struct.pack("<QI", 0, 9) + b'{"a":NaN}'[:-1],
        struct.pack("<QI", 3, 2) + b"{}abc",
        pack(batch_header(1, [EncodedImage(b"abc")], [0]), 3) + b"ab",
    ],
)
def test_bytes_that_are_no_frame_are_an_error(stream):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(stream)
        ours.close()
        with pytest.raises(FrameError):
            read_frame(theirs)


# --- channel -------------------------------------------------------------------------------------


async def test_a_large_payload_to_a_slow_reader_arrives_in_order():
    ours, theirs = socket.socketpair()
    channel = Channel(ours, lambda frame: None, lambda reason: None)
    images = encoded([*(os.urandom(300_000 + i) for i in range(20)), b""])
    for number in range(2):
        channel.send(batch_header(number, images, []), [image.data for image in images])
    with theirs:
        for number in range(2):
            frame = await asyncio.wait_for(asyncio.to_thread(read_frame, theirs), PATIENCE_S)
            assert frame.header["number"] == number
            assert tuple(frame.images) == images
    channel.close()


async def test_the_last_frames_come_before_the_end():
    ours, theirs = socket.socketpair()
    seen = []
    ended = asyncio.get_running_loop().create_future()
    channel = Channel(ours, lambda frame: seen.append(frame.header["n"]), ended.set_result)
    theirs.sendall(pack({"n": 1}) + pack({"n": 2}))
    theirs.close()
    channel.send({"kind": "never read"})
    assert await asyncio.wait_for(ended, PATIENCE_S) is None
    assert seen == [1, 2]
    channel.send({"kind": "nor this"})
    channel.close()


async def test_garbage_ends_the_channel_with_a_reason():
    ours, theirs = socket.socketpair()
    ended = asyncio.get_running_loop().create_future()
    channel = Channel(ours, lambda frame: None, ended.set_result)
    with theirs:
        theirs.sendall(b"\xff" * 64)
        assert "sent a frame of" in await asyncio.wait_for(ended, PATIENCE_S)
    channel.close()


# --- output --------------------------------------------------------------------------------------

TOKEN = "f00d"  # noqa: S105 - marks lines of a log


async def test_output_lines_keep_their_level_and_long_ones_are_cut(caplog):
    caplog.set_level(logging.DEBUG)
    reading, writing = os.pipe()
    relay = OutputRelay(reading, "w-0", TOKEN)
    said = [b"plain", b"<3:f00d>wrong", b"<4:f00d>odd", b"", b"y" * 5000, b"no end"]
    os.write(writing, b"\n".join(said))
    os.close(writing)
    relay.close()
    relay.close()
    logged = [(r.levelno, r.getMessage()) for r in caplog.records if r.name.endswith("output")]
    assert logged[:3] == [
        (logging.INFO, "w-0: plain"),
        (logging.ERROR, "w-0: wrong"),
        (logging.WARNING, "w-0: odd"),
    ]
    assert len(logged[3][1]) < 2100
    assert logged[-1] == (logging.INFO, "w-0: no end")
    assert relay.tail[-1] == "no end"


async def test_output_of_libraries_has_no_level_and_moves_no_cursor(caplog):
    caplog.set_level(logging.DEBUG)
    reading, writing = os.pipe()
    relay = OutputRelay(reading, "w-0", TOKEN)
    os.write(writing, b"<3>forged\n<3:beef>forged\nclear\x1b[2K\rhome \xc2\x9b\tkept\n")
    os.write(writing, b"libpng: no newline<3:f00d>ours\n")
    os.close(writing)
    relay.close()
    logged = [(r.levelno, r.getMessage()) for r in caplog.records if r.name.endswith("output")]
    assert logged == [
        (logging.INFO, "w-0: <3>forged"),
        (logging.INFO, "w-0: <3:beef>forged"),
        (logging.INFO, "w-0: clear\\u001b[2K\\u000dhome \\u009b\tkept"),
        (logging.INFO, "w-0: libpng: no newline"),
        (logging.ERROR, "w-0: ours"),
    ]
    assert relay.tail[2] == "clear\\u001b[2K\\u000dhome \\u009b\tkept"


async def test_a_flood_of_newlines_costs_no_more_than_what_is_logged(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    reading, writing = os.pipe()
    relay = OutputRelay(reading, "w-0", TOKEN)
    relayed = []
    real = relay._relay
    monkeypatch.setattr(relay, "_relay", lambda line: (relayed.append(line), real(line)))
    monkeypatch.setattr(relay._loop, "time", lambda: 1000.5)
    for _ in range(8):
        os.write(writing, b"\n" * 65_500 + b"last\n")
        assert relay._read()
    os.close(writing)
    relay.close()
    assert len(relayed) < 8 * 300  # of half a million
    assert relay.tail[-1] == "last"


# --- the command ---------------------------------------------------------------------------------


def test_devices_choose_the_gpus_that_a_worker_sees(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    command = WorkerCommand("{}", devices=("gpu:1", "cpu", "gpu", "gpu:2"))
    seen = [command.environment_of(index)["CUDA_VISIBLE_DEVICES"] for index in range(5)]
    assert seen == ["6", "", "5,6", "", "6"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert command.environment_of(3)["CUDA_VISIBLE_DEVICES"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in command.environment_of(2)


def test_telemetry_of_the_runtime_is_off_in_a_worker_unless_it_is_switched_on(monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    command = WorkerCommand("{}")
    assert command.environment_of(0)["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert command.environment_of(0)["ORT_DISABLE_TELEMETRY"] == "0"


def test_the_start_message_is_json():
    assert json.loads(json.dumps(WorkerCommand("{}").start_message(TOKEN)))["kind"] == "start"


def test_one_line_of_an_error():
    assert one_line(InvalidRequest("wrong\n  here")) == "wrong here"
    assert one_line(KeyError("a")) == "KeyError: 'a'"
    assert one_line(MemoryError()) == "MemoryError"
