"""The judge of an attack: one that cannot find a fault would prove nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from rich.console import Console

from reliability.attack import bombs, http2
from reliability.attack.__main__ import main
from reliability.attack.attacker import Attack, Attacker
from reliability.attack.bodies import upload
from reliability.attack.connections import GET
from reliability.attack.judge import (
    COST_RATIO,
    HEALTH_MS,
    SPARE_MIB,
    Reference,
    memory_bound_mib,
    problems,
    workers_bound_mib,
)
from reliability.attack.measure import Observation
from reliability.attack.report import COLUMNS, GUIDE, Result, markdown, show
from reliability.attack.table import ATTACKS, chosen
from reliability.attack.target import (
    MAX_INFLIGHT_MIB,
    Mode,
    NotLoopbackError,
    Target,
    loopback,
    start_target,
)
from tests.patience import PATIENCE_S


async def nothing(attacker: Attacker) -> None:
    """Attack nobody."""


def an_attack(**more: Any) -> Attack:
    fields: dict[str, Any] = {
        "name": "a test", "number": 1, "wire": "HTTP", "must": "hold", "run": nothing,
    }  # fmt: skip
    return Attack(**{**fields, **more})


def seen(**more: Any) -> Observation:
    fields: dict[str, Any] = {
        "seconds": 5.0, "sent": 10 * 2**20, "service_s": 2.0, "health_ms": [2.0] * 50,
        "honest": Counter(right=30), "honest_ms": [10.0, 40.0, 90.0],
    }  # fmt: skip
    return Observation(**{**fields, **more})


@pytest.fixture
def reference() -> Reference:
    idle = Observation(seconds=3.0, service_s=0.3, health_ms=[1.0] * 30)
    return Reference(idle, {kind: seen() for kind in ("heads", "bodies", "messages")})


def test_harmless_traffic_passes(reference: Reference) -> None:
    assert problems(an_attack(like="heads"), seen(), reference) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"service_grown_mib": SPARE_MIB + 1}, "the service process grew by 65 MiB; 64"),
        ({"workers_grown_mib": workers_bound_mib() + 1}, "the workers grew by"),
        ({"health_ms": [1.0, HEALTH_MS + 1]}, "health took 501 ms; 500 are allowed"),
        ({"health_missed": ["refused"]}, "health did not reply 1 times"),
        ({"health_ms": []}, "health did not reply at all"),
        ({"sent": 2**20, "service_s": 2.5}, "times as much as heads"),
        ({"honest": Counter(right=30, lost=1)}, "1 of 31 honest requests were lost"),
        ({"honest": Counter(right=30, late=2)}, "2 of 32 honest requests were late"),
        ({"honest": Counter(right=10, refused=10)}, "10 of 20 honest requests were refused"),
        ({"sent": 0, "service_s": 0.1}, "the attack sent nothing"),
        ({"restarts": 2}, "2 workers had to be started again"),
        ({"traces": 1}, "1 stack traces"),
        ({"problems": ["seen"]}, "seen"),
    ],
)
def test_each_fault_is_a_problem(reference: Reference, fault: Any, words: str) -> None:
    (problem,) = problems(an_attack(like="heads"), seen(**fault), reference)
    assert words in problem


def test_bounds_follow_what_the_attack_may_hold(reference: Reference) -> None:
    upload_of_60 = an_attack(holds_mib=60)
    assert memory_bound_mib(upload_of_60) == SPARE_MIB + 120
    assert problems(upload_of_60, seen(service_grown_mib=180), reference) == []
    assert problems(upload_of_60, seen(service_grown_mib=358), reference)
    most = memory_bound_mib(an_attack(holds_mib=10_000))
    assert most == SPARE_MIB + 2 * MAX_INFLIGHT_MIB


def test_the_cost_of_a_byte_is_a_ratio_to_harmless_traffic(reference: Reference) -> None:
    harmless = reference.cost(reference.kinds["heads"])
    assert harmless == pytest.approx((2.0 - 0.1 * 5) / 10)
    dear = seen(sent=2**20, service_s=0.5 + COST_RATIO * harmless * 1.1)
    assert problems(an_attack(), dear, reference) == []  # compared with nothing
    # Where the service is idle, a byte costs nothing that would be missed.
    idle = seen(sent=10, service_s=0.2)
    assert problems(an_attack(like="heads"), idle, reference) == []


def test_a_slow_machine_is_slow_beside_harmless_traffic_too(reference: Reference) -> None:
    late = seen(health_ms=[900.0])
    assert problems(an_attack(), late, reference)
    reference.kinds["bodies"].health_ms.append(200.0)
    assert problems(an_attack(), late, reference) == []


def test_every_attack_has_a_name_of_its_own_and_says_what_must_hold() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names)) >= 40
    assert all(attack.must and attack.run.__doc__ and attack.modes for attack in ATTACKS)
    assert {attack.like for attack in ATTACKS} == {"", "heads", "bodies", "messages"}
    (pair, *_) = chosen(["PIPELINING, unread"], [Mode.STRANGER])
    assert pair[0].name == "pipelining, unread"


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "no host at all"])
def test_only_a_loopback_address_is_attacked(host: str) -> None:
    with pytest.raises(NotLoopbackError):
        loopback(host)
    with pytest.raises(NotLoopbackError):
        Target(1, 2, 3, 4, host=host)
    assert loopback("127.0.0.1") == "127.0.0.1"
    assert loopback("::1") == "::1"


def test_the_table_says_what_failed(reference: Reference) -> None:
    good = Result(an_attack(like="heads"), Mode.OPEN, seen(), reference, [])
    bad = Result(an_attack(name="other"), Mode.HOLDER, seen(), None, ["it grew"])
    console = Console(record=True, width=180)
    show([good, bad], console)
    printed = console.export_text()
    assert "other (with key): it grew" in printed
    assert all(column in printed for column in COLUMNS)
    rows = markdown([good, good, bad]).splitlines()
    assert [row.count("|") for row in rows] == [len(GUIDE) + 1] * 4
    assert "| `a test` | 20.0 MiB |" in rows[2]
    assert "1.0 x" in rows[2]
    assert "60 right, 0 refused, 0 lost; 40 ms | held" in rows[2]
    assert rows[3].endswith("| failed: with key |")
    fields = json.loads(json.dumps(bad.to_json()))
    assert fields["seen"]["honest"] == {"right": 30}


async def test_what_is_sent_is_counted_also_where_the_peer_hangs_up() -> None:
    received = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += len(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        until = asyncio.get_running_loop().time() + PATIENCE_S
        attacker = Attacker(Target(port, port, port, 1), until)
        line = await attacker.connect()
        with contextlib.suppress(OSError):
            await line.flood(GET, read=True)
    assert attacker.sent >= received > 0


def test_the_bombs_are_what_they_say() -> None:
    flags = cv2.IMREAD_COLOR
    for side, data in (
        (40, bombs.png(40)),
        (40, bombs.progressive(40, 5)),
        (40, bombs.hidden_progressive(40, 5)),
        (40, bombs.tiff(40, 40)),
        (1, bombs.texts(1, 100)),
    ):
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        assert decoded is not None
        assert decoded.shape == (side, side, 3)
    assert len(bombs.png(7000)) < 2**20


def test_frames_and_header_fields_are_those_of_http2() -> None:
    assert http2.integer(10, 5) == b"\x0a"  # RFC 7541, C.1.1 and C.1.2
    assert http2.integer(1337, 5) == b"\x1f\x9a\x0a"
    frame = http2.frame(http2.PING, 1, 0, bytes(8))
    assert frame == b"\0\0\x08\x06\x01\0\0\0\0" + bytes(8)
    check = health_pb2.HealthCheckRequest.FromString(http2.field(1, b"a" * 200))
    assert check.service == "a" * 200
    packed = http2.packed_field(1, 1)
    assert len(packed) < 2000
    unpacked = zlib.decompress(packed, wbits=31)
    assert health_pb2.HealthCheckRequest.FromString(unpacked).service == "a" * 2**20


def test_an_upload_is_read_as_one() -> None:
    body = upload(('Content-Disposition: form-data; name="a"', b"x"))
    assert body.startswith(b"--attack\r\n")
    assert body.endswith(b"--attack--\r\n")


def test_the_list_sends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "gzip", "--caller", "no key"]) == 0
    printed = capsys.readouterr().out
    assert "gzip bomb" in printed
    assert "pipelining" not in printed
    with pytest.raises(SystemExit):
        main(["--only", "there is no such attack"])


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ("192.0.2.1:80", "not a loopback address"),
        ("example.invalid:80", "has no address"),
        ("127.0.0.1:http", "not of the form"),
        ("127.0.0.1:1", "no admin address"),
    ],
)
def test_a_running_service_is_attacked_only_on_this_machine(
    capsys: pytest.CaptureFixture[str], http: str, words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["--at", http, "127.0.0.1:1", "127.0.0.1:1"])
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_running_service_is_attacked_where_it_listens(
    run_command: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "service").mkdir()
    with (
        (tmp_path / "log").open("w") as log,
        start_target(tmp_path / "service", log, keyed=False) as own,
    ):
        addresses = [f"127.0.0.1:{port}" for port in (own.http_port, own.rpc_port, own.admin_port)]
        printed = run_command("attack", "--at", *addresses, "--only", "upgrade", "--seconds", "2")
        assert own.alive
    assert "upgrade in gzip" in printed
    assert "with key" not in printed


@pytest.mark.slow
def test_a_short_attack_runs_to_its_end(run_command: Callable[..., str], tmp_path: Path) -> None:
    printed = run_command(
        "attack", "--only", "slow heads", "guessed keys", "SIGTERM, uploads", "--seconds", "2"
    )
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    by_caller = {(row["attack"], row["caller"]) for row in report["results"]}
    assert ("guessed keys", "no key") in by_caller
    assert ("slow heads", "open") in by_caller
    assert all(row["seen"]["sent"] for row in report["results"])
    assert "all held" in printed
