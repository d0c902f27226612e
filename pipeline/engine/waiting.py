"""The bounded queue: two lanes, each in an order that is fair between requests.

    light    images that share batches
    heavy    those that run alone: large ones, and those over which a worker died

Within a lane, each request that waits gets the same share of the work (start-time fair queueing):
its first image is next as soon as those of others that are due are taken, its sixteenth when the
others had as much. Requests of one image are taken by age.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence

from .entries import Entry, Request
from .work import OVERHEAD_MEGAPIXELS

_FRONT = -1.0


class Lane:
    """Entries in fair order.

    Attributes:
        megapixels: the estimated work of all of them.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        """Hold nothing yet; `numbers` orders entries of the same turn."""
        self.megapixels = 0.0
        self._numbers = numbers
        self._line: list[tuple[float, int, Entry]] = []
        self._requests: dict[Request, int] = {}  # how many entries of each wait here
        self._turn = 0.0  # the work that each request of the lane has had, if it was always there

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, _, entry in self._line)

    @property
    def first(self) -> Entry | None:
        """The entry that is next."""
        return self._line[0][2] if self._line else None

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in new entries of one request."""
        turn = self._turn
        for entry in entries:
            self._insert(entry, turn)
            turn += entry.megapixels + OVERHEAD_MEGAPIXELS

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Take in entries, in their order, before all others but earlier ones of these."""
        for entry in entries:
            self._insert(entry, _FRONT)

    def discard(self, entries: Iterable[Entry]) -> None:
        """Drop those of `entries` that wait here."""
        for entry in entries:
            if entry.place is None:
                continue
            position = bisect.bisect_left(self._line, entry.place, key=_place)
            if position < len(self._line) and self._line[position][2] is entry:
                del self._line[position]
                self._leave(entry)

    def take(self, most: int, megapixels: float, late_until: float) -> list[Entry]:
        """Remove and return the next batch: at most `most` entries and `megapixels`, at least one.

        Entries with a deadline up to `late_until` are likely to be late: they come only when no
        others wait, so that they make no others late.
        """
        in_time = (entry for entry in self if entry.request.deadline > late_until)
        batch = _first(most, megapixels, in_time) or _first(most, megapixels, self)
        requests = max(1, len(self._requests))
        for entry in batch:
            self._turn = max(self._turn, entry.place[0] if entry.place is not None else 0.0)
        self._turn += sum(e.megapixels + OVERHEAD_MEGAPIXELS for e in batch) / requests
        self.discard(batch)
        return batch

    def _insert(self, entry: Entry, turn: float) -> None:
        entry.place = (turn, next(self._numbers))
        bisect.insort(self._line, (*entry.place, entry), key=_place)
        self.megapixels += entry.megapixels
        self._requests[entry.request] = self._requests.get(entry.request, 0) + 1

    def _leave(self, entry: Entry) -> None:
        entry.place = None
        self.megapixels = self.megapixels - entry.megapixels if self._line else 0.0
        left = self._requests[entry.request] - 1
        if left:
            self._requests[entry.request] = left
        else:
            del self._requests[entry.request]


class WaitingEntries:
    """All that wait, never more than admitted.

    An entry can be dropped from the middle at once, so that a caller that disconnects gives its
    place to the next one. Entries that come back after a worker's death go to the front; they were
    admitted before, so they may exceed the bound, and new entries never do.
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` entries."""
        self.size = size
        numbers = itertools.count()
        self.light, self.heavy = Lane(numbers), Lane(numbers)

    def __len__(self) -> int:
        return len(self.light) + len(self.heavy)

    def has_room(self, entries: int) -> bool:
        """Whether so many more entries may wait."""
        return len(self) + entries <= self.size

    def extend(self, entries: Sequence[Entry]) -> None:
        """Take in the entries of a new request."""
        self.light.add(entry for entry in entries if not entry.heavy)
        self.heavy.add(entry for entry in entries if entry.heavy)

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries over which a worker died at the front of the heavy lane, in their order."""
        self.heavy.put_back(entries)

    def discard(self, entries: Iterable[Entry]) -> None:
        """Drop those of `entries` that wait."""
        for entry in entries:
            (self.heavy if entry.heavy else self.light).discard((entry,))


def _place(item: tuple[float, int, Entry] | tuple[float, int]) -> tuple[float, int]:
    return item[0], item[1]


def _first(most: int, megapixels: float, entries: Iterable[Entry]) -> list[Entry]:
    batch: list[Entry] = []
    left = megapixels
    for entry in entries:
        left -= entry.megapixels
        if batch and left < 0:
            break
        batch.append(entry)
        if len(batch) == most:
            break
    return batch
