"""What is refused for the time that it would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protocol.errors import DeadlineExceeded, Overloaded, ServingError, TooLarge
from protocol.request import EncodedImage

from ..settings.engine import EngineSettings
from .entries import Entry, Request
from .turns import Turns
from .waiting import WaitingEntries
from .work import Pace, work_of


class Queue(Protocol):
    """What is compared: the dispatcher has it."""

    waiting: WaitingEntries
    pace: Pace
    turns: Turns


class WorkLimits:
    """Compares estimates with the time that requests have."""

    def __init__(self, name: str, settings: EngineSettings, queue: Queue) -> None:
        """Judge requests to the service `name`, which wait in `queue`."""
        self._name = name
        self._timeout_s = settings.timeout_s
        self._max_megapixels = settings.max_image_megapixels
        self._waiting = queue.waiting
        self._pace = queue.pace
        self._turns = queue.turns

    def entries(
        self,
        request: Request,
        images: Sequence[EncodedImage],
        works: Sequence[float] | None,
        limit_s: float,
    ) -> tuple[list[Entry], list[tuple[Entry, ServingError]]]:
        """Return the entries of `request` that can be done within `limit_s`, and the others."""
        possible, hopeless = [], []
        for position, image in enumerate(images):
            known = None if works is None else works[position]
            work = work_of(image.data, self._max_megapixels, known)
            entry = Entry(request, position, image, work, heavy=self._pace.is_heavy(work))
            error = self.too_heavy(entry, limit_s)
            if error is None:
                possible.append(entry)
            else:
                hopeless.append((entry, error))
        return possible, hopeless

    def too_heavy(self, entry: Entry, limit_s: float) -> ServingError | None:
        """Return why the image cannot be in time, alone on an idle worker."""
        least_s = entry.megapixels * self._pace.best_s
        if limit_s <= 0 or least_s <= limit_s:
            return None  # without any time it is no matter of the image
        return self._never_in_time(
            f"the image is the work of {entry.megapixels:.3g} megapixels", least_s, limit_s
        )

    def _never_in_time(self, work: str, least_s: float, limit_s: float) -> ServingError:
        """Return TooLarge for what `timeout` is too short for, else DeadlineExceeded.

        Where only the time that this caller gives is too short, the same images can be sent again.
        """
        too_large = least_s > self._timeout_s
        error = TooLarge if too_large else DeadlineExceeded
        return error(
            f"{work}, which takes {least_s:.2g} s at best, and the request has {limit_s:.3g} s; "
            + ("send fewer or smaller images at a time" if too_large else "give it more time")
        )

    def refusal(self, entries: Sequence[Entry], limit_s: float, now: float) -> ServingError | None:
        """Return why these images of one request, together, cannot be done within `limit_s`."""
        megapixels = sum(entry.megapixels for entry in entries)
        waiting = self._waiting.heavy.megapixels + self._waiting.light.megapixels
        if self._pace.decode_s(megapixels + waiting) + self._turns.heavy_running_s <= limit_s:
            return None  # nearly always
        least_s = megapixels * self._pace.best_s / self._turns.workers
        if len(entries) > 1 and least_s > limit_s:
            work = f"the {len(entries)} images are the work of {megapixels:.3g} megapixels"
            return self._never_in_time(work, least_s, limit_s)
        heavy = [entry.megapixels for entry in entries if entry.heavy]
        ahead_s = self._pace.decode_s(self._waiting.heavy.megapixels) + self._turns.heavy_running_s
        error = self._too_late(sum(heavy), ahead_s, self._turns.heavy_workers(now), limit_s)
        if error is None and len(heavy) < len(entries):
            ahead_s = self._pace.decode_s(self._waiting.light.megapixels)
            error = self._too_late(megapixels - sum(heavy), ahead_s, self._turns.workers, limit_s)
        return error

    def _too_late(
        self, megapixels: float, ahead_s: float, workers: int, limit_s: float
    ) -> Overloaded | None:
        new_s = self._pace.decode_s(megapixels)
        if not (new_s and ahead_s) or (new_s + ahead_s) / workers <= limit_s:
            return None  # an idle service tries what may be in time, and learns
        return Overloaded(
            f"the images that wait at service {self._name} take about {ahead_s:.2g} s, these "
            f"{new_s:.2g} s more, and the request has {limit_s:.3g} s; try again later, with fewer "
            "or smaller images"
        )
