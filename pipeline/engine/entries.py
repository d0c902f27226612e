"""The images that wait, and the requests that wait for their results.

    Request ──< Entry    one entry per image; an entry knows its request, never the reverse
    WaitingEntries       all that wait, by age, never more than admitted

An entry is at any time in exactly one place: waiting, in one worker's batch, or settled.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from protocol.errors import ServingError
from protocol.reply import ImageResult
from protocol.request import EncodedImage


class Request:
    """One caller's wait for the results of its images.

    `done` becomes true exactly once: all results are there, the request failed as a whole, or the
    caller went away (the future is then cancelled). Whatever comes later changes nothing.

    Attributes:
        context: the caller's context variables.
        since: when it was admitted; like `deadline`, a time of the loop's clock.
        unsettled: images without a result.
    """

    __slots__ = (
        "_failure",
        "_future",
        "_results",
        "context",
        "deadline",
        "log_id",
        "since",
        "unsettled",
    )

    def __init__(self, images: int, limit_s: float, log_id: int) -> None:
        """Wait for `images` results for `limit_s` seconds; must be called on the running loop."""
        loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = loop.create_future()
        self._results: list[ImageResult | None] = [None] * images
        self._failure: tuple[type[ServingError], str] | None = None
        self.context = contextvars.copy_context()
        self.since = loop.time()
        self.deadline = self.since + limit_s
        self.log_id = log_id
        self.unsettled = images

    @property
    def done(self) -> bool:
        """Whether the caller waits no longer."""
        return self._future.done()

    @property
    def abandoned(self) -> bool:
        """Whether the caller went away before its request was done."""
        return self._future.cancelled()

    def settle(self, position: int, result: ImageResult) -> None:
        """Take the result of one image; the last one wakes the caller."""
        self._results[position] = result
        self.unsettled -= 1
        if not self.unsettled:
            self._future.set_result(None)

    def fail(self, kind: type[ServingError], text: str) -> None:
        """End the request as a whole and wake the caller."""
        self._failure = (kind, text)
        self._future.set_result(None)

    async def outcome(self) -> list[ImageResult]:
        """Wait; return one result per image.

        Raises:
            ServingError: the request failed as a whole.
        """
        await self._future
        if self._failure is not None:
            # Made here and kept nowhere: a stored exception would tie the frame, and with it the
            # images, into a cycle that only the garbage collector ends.
            kind, text = self._failure
            raise kind(text)
        return [result for result in self._results if result is not None]


class Entry:
    """One image of a request.

    `attempts` counts the workers that died over it; `alone` says that it must not share a batch,
    because it was in one that killed its worker.
    """

    __slots__ = ("alone", "attempts", "image", "position", "request")

    def __init__(self, request: Request, position: int, image: EncodedImage) -> None:
        """Stand for image `position` of `request`."""
        self.request = request
        self.position = position
        self.image = image
        self.attempts = 0
        self.alone = False


class WaitingEntries:
    """The bounded queue.

    Ordered by age. An entry can be dropped from the middle at once, so that a caller that
    disconnects gives its place to the next one. Entries that come back after a worker's death go to
    the front; they were admitted before, so they may exceed the bound, and new entries never do.
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` entries."""
        self.size = size
        self._entries: OrderedDict[Entry, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def has_room(self, entries: int) -> bool:
        """Whether so many more entries may wait."""
        return len(self._entries) + entries <= self.size

    @property
    def oldest(self) -> Entry | None:
        """The entry that is next."""
        return next(iter(self._entries), None)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Put new entries at the end."""
        for entry in entries:
            self._entries[entry] = None

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries at the front, in their order."""
        for entry in reversed(entries):
            self._entries[entry] = None
            self._entries.move_to_end(entry, last=False)

    def discard(self, entries: Iterable[Entry]) -> None:
        """Drop those of `entries` that wait."""
        for entry in entries:
            self._entries.pop(entry, None)

    def take(self, most: int, late_until: float = -math.inf) -> list[Entry]:
        """Remove and return the next batch: the oldest entries, at most `most` of them.

        Entries with a deadline up to `late_until` are likely to be late: they come only when no
        others wait, so that they make no others late. An entry that must be alone comes alone.
        """
        batch = _first(most, (e for e in self._entries if e.request.deadline > late_until))
        batch = batch or _first(most, self._entries)
        self.discard(batch)
        return batch


def _first(most: int, entries: Iterable[Entry]) -> list[Entry]:
    batch: list[Entry] = []
    for entry in entries:
        if entry.alone:
            return batch or [entry]
        batch.append(entry)
        if len(batch) == most:
            break
    return batch
