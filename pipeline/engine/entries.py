"""The images that wait, and the requests that wait for their results.

    Request ──< Entry    one entry per image; an entry knows its request, never the reverse

An entry is at any time in exactly one place: waiting, in one worker's batch, or settled.
"""

from __future__ import annotations

import asyncio
import contextvars

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

    Attributes:
        megapixels: its estimated work.
        heavy: it must not share a batch: it is large, or was in a batch that killed its worker.
        attempts: how many workers died over it.
        place: where it stands in its lane; None while it does not wait.
    """

    __slots__ = ("attempts", "heavy", "image", "megapixels", "place", "position", "request")

    def __init__(
        self,
        request: Request,
        position: int,
        image: EncodedImage,
        megapixels: float = 0.0,
        *,
        heavy: bool = False,
    ) -> None:
        """Stand for image `position` of `request`."""
        self.request = request
        self.position = position
        self.image = image
        self.megapixels = megapixels
        self.heavy = heavy
        self.attempts = 0
        self.place: tuple[float, int] | None = None
