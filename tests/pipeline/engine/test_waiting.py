"""The queue: order, fairness between requests, and batches that are bounded by work."""

from __future__ import annotations

import math

from pipeline.engine.entries import Entry, Request
from pipeline.engine.waiting import Lane, WaitingEntries
from protocol.request import EncodedImage

SOON = -math.inf


def entries_of(request, megapixels, *, heavy=False):
    return [
        Entry(request, position, EncodedImage(b""), work, heavy=heavy)
        for position, work in enumerate(megapixels)
    ]


def take(lane: Lane, most=8, megapixels=math.inf, late_until=SOON):
    return lane.take(most, megapixels, late_until)


async def test_those_that_come_back_are_first_and_in_their_order():
    request = Request(9, 10.0, 0)
    entries = entries_of(request, [0.0] * 6)
    waiting = WaitingEntries(6)
    for entry in entries[:3]:
        entry.heavy = True
    waiting.extend(entries)
    waiting.discard(entries[:3])
    waiting.put_back(entries[:3])
    assert not waiting.has_room(1)
    assert waiting.heavy.first is entries[0]
    waiting.discard([entries[1], entries[1]])
    assert waiting.has_room(1)
    assert [[e.position for e in take(waiting.heavy, 1)] for _ in range(3)] == [[0], [2], []]
    assert [e.position for e in take(waiting.light)] == [3, 4, 5]
    assert len(waiting) == 0
    assert waiting.light.first is None


async def test_requests_of_one_image_are_taken_by_age():
    waiting = WaitingEntries(9)
    entries = [entries_of(Request(1, 10.0, 0), [0.1])[0] for _ in range(6)]
    taken = []
    for entry in entries[:4]:
        waiting.extend([entry])
    taken += take(waiting.light, 2)
    for entry in entries[4:]:
        waiting.extend([entry])
    taken += take(waiting.light, 3) + take(waiting.light, 3)
    assert taken == entries


async def test_hurried_entries_go_behind_the_others_and_are_tried_all_the_same():
    hurried, patient = Request(2, 1.0, 0), Request(2, 10.0, 0)
    early, late = entries_of(hurried, [0, 0]), entries_of(patient, [0, 0])
    lane = WaitingEntries(4).light
    lane.add(early)
    lane.add(late)
    assert take(lane, late_until=hurried.deadline) == late
    assert take(lane, late_until=hurried.deadline) == early
    assert take(lane, late_until=hurried.deadline) == []


async def test_one_request_of_many_images_does_not_delay_that_of_another():
    lane = WaitingEntries(99).heavy
    many, one = Request(16, 10.0, 0), Request(1, 10.0, 0)
    lane.add(entries_of(many, [49.0] * 16))
    first = take(lane, 1)
    lane.add(entries_of(one, [49.0]))
    assert [entry.request for entry in (*first, *take(lane, 1), *take(lane, 1))] == [
        many,
        many,
        one,
    ]


async def test_a_stream_of_new_requests_lets_no_older_one_starve():
    lane = WaitingEntries(99).heavy
    many = Request(3, 10.0, 0)
    old = entries_of(many, [49.0] * 3)
    lane.add(old)
    taken = []
    while old[-1] not in taken and len(taken) < 20:
        lane.add(entries_of(Request(1, 10.0, 0), [49.0]))
        taken += take(lane, 1)
    assert old[-1] in taken


async def test_a_batch_has_a_bounded_share_of_work_and_one_image_at_least():
    lane = WaitingEntries(99).light
    request = Request(6, 10.0, 0)
    lane.add(entries_of(request, [12, 12, 12, 30, 5, 5]))
    sizes = []
    while batch := take(lane, 8, 25.0):
        sizes.append([entry.megapixels for entry in batch])
    assert sizes == [[12, 12], [12], [30], [5, 5]]


async def test_the_work_that_waits_is_counted():
    waiting = WaitingEntries(99)
    request = Request(4, 10.0, 0)
    entries = entries_of(request, [1.5, 2.5, 3.0])
    waiting.extend(entries)
    assert waiting.light.megapixels == 7.0
    take(waiting.light, 1)
    waiting.discard(entries[1:2])
    assert waiting.light.megapixels == 3.0
    take(waiting.light)
    assert waiting.light.megapixels == 0.0
    assert not waiting.light._requests
