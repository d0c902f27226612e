"""Decides whether a reply is right: of this image and service, or an error that has a reason."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import ServingError, wire_codes
from protocol.reply import Category, ClassifyReply, ImageResult

from ..images import TOLERANCE
from .timeline import Timeline

NOTICED = 0.9  # share of a deadline that must be over before DeadlineExceeded is right
# A caller's own deadline may be any number; clocks and timers round to milliseconds.
ROUNDING_S = 0.002

BURST, KILL, KILL_ALL, CRASH, HANG = (
    "burst beyond the queue",
    "worker killed",
    "all workers killed",
    "worker crashes (SIGSEGV)",
    "worker hangs (SIGSTOP)",
)
LABELS_GONE = "label file gone, worker killed"
STRAIN = frozenset({BURST, KILL, KILL_ALL, CRASH, HANG, LABELS_GONE})

OVERLOADED, NOT_READY, LATE, FAILED = 3004, 3005, 6000, 10000
BAD_IMAGE = frozenset({5001, 5002})
AT_BEST = "s at best, and the request has"  # of an estimate, in DeadlineExceeded


class Verdict(enum.Enum):
    """The verdict on one request."""

    RIGHT = "answered right"
    RIGHT_ERROR = "answered with the right error"
    GONE = "given up by its caller"
    LOST = "lost"
    MIXED_UP = "mixed up"
    WRONG = "wrong answer"
    UNEXPECTED = "an error without a reason"

    @property
    def good(self) -> bool:
        """Whether the service did what it should."""
        return self in (Verdict.RIGHT, Verdict.RIGHT_ERROR, Verdict.GONE)


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request: the numbers of its images, None for one that is not an image.

    Where the request is wrong as a whole, the err_no of the reply must be one of `errors`. With
    `short`, `deadline_s` is the caller's own deadline, shorter than the service's.
    """

    kind: str
    service: str
    images: tuple[int | None, ...]
    topk: int
    deadline_s: float
    short: bool = False
    errors: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply and its times (monotonic seconds); `reply` is None if there was none, see `reason`.

    `status` is HTTP's, None over RPC.
    """

    began: float
    ended: float
    reply: ClassifyReply | ServingError | None
    status: int | None = None
    reason: str = ""


class Judge:
    """Compares replies with the known scores, [images][classes], and errors with the timeline."""

    def __init__(self, scores: Sequence[Sequence[float]], timeline: Timeline, retries: int) -> None:
        self._scores = scores
        self._timeline = timeline
        self._retries = retries

    def judge(self, request: SentRequest, outcome: Outcome) -> tuple[Verdict, str]:
        """Return the verdict and its reason."""
        if outcome.reply is None:
            return Verdict.LOST, outcome.reason
        if isinstance(outcome.reply, ServingError):
            return self._error(request, outcome, outcome.reply)
        if outcome.status not in (None, 200):
            return Verdict.WRONG, f"a reply with HTTP {outcome.status}"
        if request.errors:
            return Verdict.UNEXPECTED, f"a result for {request.kind}"
        if len(outcome.reply.results) != len(request.images):
            return Verdict.WRONG, f"{len(outcome.reply.results)} results"
        return self._results(request, outcome, outcome.reply.results)

    def _error(
        self, request: SentRequest, outcome: Outcome, error: ServingError
    ) -> tuple[Verdict, str]:
        codes = wire_codes(error)
        name = f"{codes.err_no} {type(error).__name__}"
        if outcome.status not in (None, codes.http_status):
            return Verdict.UNEXPECTED, f"{name} with HTTP {outcome.status}"
        if codes.err_no in request.errors or self._excused(request, outcome, error):
            return Verdict.RIGHT_ERROR, name
        return Verdict.UNEXPECTED, f"{name}: {error}"

    def _results(
        self, request: SentRequest, outcome: Outcome, results: Sequence[ImageResult]
    ) -> tuple[Verdict, str]:
        errors = ""
        for number, result in zip(request.images, results, strict=True):
            if isinstance(result, ServingError):
                err_no = wire_codes(result).err_no
                expected = number is None and err_no in BAD_IMAGE
                if not expected and not self._excused(request, outcome, result):
                    return Verdict.UNEXPECTED, f"of one image: {err_no} {result}"
                if not expected:
                    errors = f"{err_no} of one image"
            elif number is None:
                return Verdict.WRONG, "categories for bytes that are not an image"
            else:
                verdict, reason = self._categories(request, outcome, number, result)
                if verdict is not Verdict.RIGHT:
                    return verdict, reason
        return (Verdict.RIGHT_ERROR, errors) if errors else (Verdict.RIGHT, "")

    def _categories(
        self, request: SentRequest, outcome: Outcome, number: int, categories: Sequence[Category]
    ) -> tuple[Verdict, str]:
        if not self._fits(number, request.topk, categories):
            for other in range(len(self._scores)):
                if other != number and self._fits(other, request.topk, categories):
                    return Verdict.MIXED_UP, f"image {number} got the scores of {other}"
            return Verdict.WRONG, f"scores of no image for {number}: {categories}"
        allowed = self._timeline.allowed_generations(outcome.began, outcome.ended)
        for category in categories:
            service, generation, class_id = category.label.split()
            if service != request.service:
                return Verdict.MIXED_UP, f"a label of {service} from {request.service}"
            if int(class_id) != category.class_id:
                return Verdict.WRONG, f"class {category.class_id} has label {category.label!r}"
            if int(generation) not in allowed:
                return Verdict.WRONG, f"labels of reload {generation}; in force: {sorted(allowed)}"
        return Verdict.RIGHT, ""

    def _fits(self, number: int, topk: int, categories: Sequence[Category]) -> bool:
        """Whether these are the best `topk` of an image, best first."""
        scores = self._scores[number]
        best = sorted(scores, reverse=True)[:topk]
        return len(categories) == len(best) and all(
            abs(category.score - score) < TOLERANCE
            and abs(scores[category.class_id] - category.score) < TOLERANCE
            for category, score in zip(categories, best, strict=True)
        )

    def _excused(self, request: SentRequest, outcome: Outcome, error: ServingError) -> bool:
        """Whether a fault of the timeline, or the caller's own deadline, explains the error."""
        err_no = wire_codes(error).err_no
        strained = self._timeline.during(STRAIN, request.service, outcome.began, outcome.ended)
        if request.short and (err_no == OVERLOADED or (err_no == LATE and AT_BEST in str(error))):
            # Admission refuses at once what cannot be ready in the time that its caller gives.
            return True
        if err_no in (OVERLOADED, NOT_READY):
            return strained
        if err_no == LATE:
            taken_s = outcome.ended - outcome.began
            if request.short:
                return taken_s >= request.deadline_s - ROUNDING_S
            return strained and taken_s >= NOTICED * request.deadline_s
        if err_no == FAILED:
            deaths = self._timeline.deaths(request.service, outcome.began, outcome.ended)
            return deaths > self._retries
        return False
