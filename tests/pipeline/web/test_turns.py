"""Turns of the loop for connections that have more to parse."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.web.turns import Turns


async def test_one_goes_on_in_each_turn_and_all_in_their_order() -> None:
    turns = Turns()
    loop = asyncio.get_running_loop()
    went_on: list[tuple[int, str]] = []
    turn = 0
    done = asyncio.Event()

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn)

    def wait(name: str, times: int) -> None:
        def go_on() -> None:
            went_on.append((turn, name))
            if times > 1:
                wait(name, times - 1)
            elif name == "c":
                done.set()

        turns.wait(go_on)

    next_turn()
    for name in "abc":
        wait(name, 3)
    await done.wait()
    assert [name for _, name in went_on] == list("abc") * 3
    numbers = [number for number, _ in went_on]
    assert len(set(numbers)) == len(numbers)


async def test_one_that_fails_does_not_keep_the_others_waiting() -> None:
    turns = Turns()
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    done = asyncio.Event()

    def fail() -> None:
        raise LookupError

    turns.wait(fail)
    turns.wait(done.set)
    await done.wait()
    assert len(reported) == 1


@pytest.mark.parametrize("number", [1, 50])
async def test_nobody_waits_at_the_end(number: int) -> None:
    turns = Turns()
    left = number
    done = asyncio.Event()

    def count() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    for _ in range(2):
        left = number
        done.clear()
        for _ in range(number):
            turns.wait(count)
        await done.wait()
