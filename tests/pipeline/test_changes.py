"""Listeners of a state."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from pipeline.changes import Changes


def test_listeners_are_called_in_order_until_they_unsubscribe() -> None:
    changes, called = Changes(), []
    ends = [changes.subscribe(lambda name=name: called.append(name)) for name in "ab"]  # type: ignore[misc]
    changes.notify()
    ends[0]()
    ends[0]()
    changes.notify()
    assert called == ["a", "b", "b"]


def test_a_listener_may_unsubscribe_while_it_is_called() -> None:
    changes, called = Changes(), []

    def once() -> None:
        called.append(1)
        end()

    end = changes.subscribe(once)
    changes.subscribe(lambda: called.append(2))
    changes.notify()
    changes.notify()
    assert called == [1, 2, 2]


def test_a_listener_that_fails_is_logged_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes, called = Changes(), []
    changes.subscribe(lambda: 1 / 0)
    changes.subscribe(lambda: called.append(1))
    with caplog.at_level(logging.ERROR):
        changes.notify()
    assert called == [1]
    assert "ZeroDivisionError" in caplog.text


def test_what_ends_a_subscription_keeps_no_owner_in_memory() -> None:
    class Owner:
        def __init__(self) -> None:
            self.changes = Changes()

    owner = Owner()
    end = owner.changes.subscribe(lambda: None)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None
    end()
