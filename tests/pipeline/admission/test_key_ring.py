from __future__ import annotations

import contextlib
import hmac
from typing import Any

import pytest

from pipeline.admission import key_ring
from pipeline.admission.key_ring import KeyRing
from pipeline.settings.api_keys import ApiKey, digest
from protocol.errors import RateLimited, Unauthenticated

APP, BATCH = "0123456789abcdef0123", "fedcba9876543210fedc"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    return KeyRing(
        [ApiKey("app", digest(APP)), ApiKey("batch", digest(BATCH), rate=2, burst=10)], clock
    )


def test_without_keys_the_door_is_open() -> None:
    assert KeyRing().admit(None, None) is None
    KeyRing().spend(None, 10**6)


def test_both_headers_are_read(ring: KeyRing) -> None:
    assert ring.admit(f"Bearer {APP}", None) == "app"
    assert ring.admit(f"bearer   {APP} ", None) == "app"
    assert ring.admit(None, BATCH) == "batch"
    assert ring.admit("Basic dXNlcg==", APP) == "app"
    # One that is known is enough: the other header may be a gateway's own.
    assert ring.admit("Bearer of-another-service", APP) == "app"
    assert ring.admit(f"Bearer {APP}", "of-another-service") == "app"


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        (None, None),
        ("", ""),
        ("Bearer", None),
        (f"Basic {APP}", None),
        (APP, None),
        ("Bearer wrong", None),
        (None, APP[:-1]),
        (None, APP + "0"),
        (None, digest(APP).hex()),
        (None, "é" * 20),
        (None, "\x00"),
    ],
)
def test_a_caller_without_a_known_key_is_refused(
    ring: KeyRing, authorization: Any, api_key: Any
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        ring.admit(authorization, api_key)
    for presented in (authorization, api_key):
        assert not presented or len(presented) < 8 or presented not in str(caught.value)


@pytest.mark.parametrize("presented", [APP, BATCH, "wrong" * 4])
def test_every_key_is_compared_in_constant_time(
    ring: KeyRing, presented: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    class Hmac:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(key_ring, "hmac", Hmac)
    with contextlib.suppress(Unauthenticated):
        ring.admit(None, presented)
    # All of them, whichever it was, and always digests of one length.
    assert compared == [(32, 32), (32, 32)]


def send(ring: KeyRing, images: int, key: str = BATCH) -> None:
    """A request, as the hosts count it."""
    ring.spend(ring.admit(None, key), images)


def test_a_rate_is_kept(ring: KeyRing, clock: Clock) -> None:
    send(ring, 6)
    send(ring, 4)
    with pytest.raises(RateLimited) as caught:  # known before a body is read
        ring.admit(None, BATCH)
    assert caught.value.retry_after_s == pytest.approx(0.5)
    clock.now += 0.5
    send(ring, 1)
    with pytest.raises(RateLimited):
        send(ring, 1)
    clock.now += 3600
    send(ring, 10)  # no more than the burst is saved up
    with pytest.raises(RateLimited):
        send(ring, 1)
    send(ring, 10**6, APP)  # each key has its own rate


def test_a_request_that_cannot_be_read_counts_too(ring: KeyRing) -> None:
    for _ in range(10):
        ring.admit(None, BATCH)
    with pytest.raises(RateLimited):
        ring.admit(None, BATCH)


def test_images_beyond_what_is_left_are_refused(ring: KeyRing, clock: Clock) -> None:
    send(ring, 8)
    with pytest.raises(RateLimited) as caught:
        send(ring, 3)
    assert caught.value.retry_after_s == pytest.approx(0.5)  # the refused request cost nothing
    with pytest.raises(RateLimited) as again:  # before anything of it is read
        ring.admit(None, BATCH)
    assert again.value.retry_after_s == pytest.approx(0.5)
    clock.now += 0.5
    send(ring, 3)
    with pytest.raises(RateLimited):
        send(ring, 1)


@pytest.mark.parametrize("every_s", [0.1, 0.4, 0.6])
def test_a_client_that_tries_again_too_soon_is_admitted_in_time(
    ring: KeyRing, clock: Clock, every_s: float
) -> None:
    send(ring, 10)
    began = clock.now
    read = 0
    while clock.now < began + 10:
        clock.now += every_s
        with contextlib.suppress(RateLimited):
            name = ring.admit(None, BATCH)
            read += 1
            ring.spend(name, 8)
            break
    assert clock.now - began == pytest.approx(4, abs=every_s)  # 8 images, 2 a second
    assert read == 2  # the first one, whose images were not known, and the one that was admitted


@pytest.mark.parametrize("images", [1, 3, 10, 25])
def test_a_retry_after_the_named_wait_is_admitted(ring: KeyRing, clock: Clock, images: int) -> None:
    send(ring, 10)
    ring_is_full_s = 100.0 + 10 / 2
    while clock.now <= ring_is_full_s + 1:  # a refusal before the request is read, one after
        try:
            return send(ring, images)
        except RateLimited as limited:
            clock.now += limited.retry_after_s + 1e-9
    pytest.fail("each try costs what the wait has brought")


def test_a_request_larger_than_the_burst_leaves_a_debt(ring: KeyRing, clock: Clock) -> None:
    send(ring, 30)
    clock.now += 9.9
    with pytest.raises(RateLimited):
        send(ring, 1)
    clock.now += 0.7
    send(ring, 1)


def test_keys_are_exchanged(ring: KeyRing, clock: Clock) -> None:
    send(ring, 10)
    ring.replace([ApiKey("batch", digest("new" * 8), rate=2, burst=10)])
    with pytest.raises(Unauthenticated):
        ring.admit(None, APP)
    with pytest.raises(Unauthenticated):
        ring.admit(None, BATCH)
    with pytest.raises(RateLimited):  # a new key does not fill the bucket
        ring.admit(None, "new" * 8)
    ring.replace([ApiKey("batch", digest("new" * 8), rate=5, burst=10)])
    assert ring.admit(None, "new" * 8) == "batch"
