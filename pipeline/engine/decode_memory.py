"""How many heavy images are decoded at once, all services of this process together: memory."""

from __future__ import annotations

from collections.abc import Callable

# What the decoder has of a pixel at most: three channels, the coefficients of a progressive JPEG.
_BYTES_A_MEGAPIXEL = 10_000_000
_SHARE = 0.5  # of the free memory


class DecodeMemory:
    """Counts the megapixels under way; one more image may begin while they are below the limit."""

    def __init__(self) -> None:
        self._limit: float | None = None
        self._taken: dict[object, float] = {}
        self._refused: set[Callable[[], None]] = set()

    def limit_by(self, free_bytes: int | None) -> None:
        """Leave half of the free memory to everything else; None is no limit."""
        self._limit = None if free_bytes is None else _SHARE * free_bytes / _BYTES_A_MEGAPIXEL

    def has_room(self, then: Callable[[], None]) -> bool:
        """Whether one more image may begin; if not, `then` is called once when one has ended."""
        if not self._taken or self._limit is None or sum(self._taken.values()) < self._limit:
            return True
        self._refused.add(then)
        return False

    def take(self, worker: object, megapixels: float) -> None:
        """`worker` begins."""
        self._taken[worker] = megapixels

    def give_back(self, worker: object) -> None:
        """`worker` has ended, or had not begun."""
        if self._taken.pop(worker, None) is not None:
            refused, self._refused = self._refused, set()
            for then in refused:
                then()


MEMORY = DecodeMemory()
