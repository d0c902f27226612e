"""Whether an answer is right: this image's, this service's, or an error that has a reason."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import ServingError, wire_codes
from protocol.reply import Category, ClassifyReply, ImageResult

from .chronicle import Chronicle

TOLERANCE = 1e-4  # of a score: batches of another size, threads and kernels round differently
NOTICED = 0.9  # the share of a deadline that must be over before it may be called missed
# A caller's own deadline is given to the last digit; clocks and timers round to milliseconds.
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


class Verdict(enum.Enum):
    """What became of one request."""

    RIGHT = "answered right"
    RIGHT_ERROR = "answered with the right error"
    GONE = "given up by its caller"
    LOST = "lost"
    MIXED_UP = "mixed up"
    WRONG = "wrong answer"
    UNEXPECTED = "an error without a reason"

    @property
    def good(self) -> bool:
        """Whether it speaks for the service."""
        return self in (Verdict.RIGHT, Verdict.RIGHT_ERROR, Verdict.GONE)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the numbers of its images, None for one that is no image.

    `errors` are the numbers of which one must be the answer, where the request is wrong as a whole;
    `short` tells that `deadline_s` is the caller's own, shorter than the service's.
    """

    what: str
    service: str
    images: tuple[int | None, ...]
    topk: int
    deadline_s: float
    short: bool = False
    errors: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Came:
    """What came back and when (monotonic seconds); `reply` None: nothing, for the reason given.

    `status` is HTTP's, None over RPC.
    """

    began: float
    ended: float
    reply: ClassifyReply | ServingError | None
    status: int | None = None
    reason: str = ""


class Judge:
    """Knows the scores of every image, [images][classes], and what has been done."""

    def __init__(
        self, scores: Sequence[Sequence[float]], chronicle: Chronicle, retries: int
    ) -> None:
        self._scores = scores
        self._chronicle = chronicle
        self._retries = retries

    def judge(self, asked: Asked, came: Came) -> tuple[Verdict, str]:
        """Return the verdict, and in words what was found."""
        if came.reply is None:
            return Verdict.LOST, came.reason
        if isinstance(came.reply, ServingError):
            return self._error(asked, came, came.reply)
        if came.status not in (None, 200):
            return Verdict.WRONG, f"an answer under HTTP {came.status}"
        if asked.errors:
            return Verdict.UNEXPECTED, f"answered, though {asked.what}"
        if len(came.reply.results) != len(asked.images):
            return Verdict.WRONG, f"{len(came.reply.results)} results"
        return self._results(asked, came, came.reply.results)

    def _error(self, asked: Asked, came: Came, error: ServingError) -> tuple[Verdict, str]:
        codes = wire_codes(error)
        told = f"{codes.err_no} {type(error).__name__}"
        if came.status not in (None, codes.http_status):
            return Verdict.UNEXPECTED, f"{told} under HTTP {came.status}"
        if codes.err_no in asked.errors or self._excused(asked, came, codes.err_no):
            return Verdict.RIGHT_ERROR, told
        return Verdict.UNEXPECTED, f"{told}: {error}"

    def _results(
        self, asked: Asked, came: Came, results: Sequence[ImageResult]
    ) -> tuple[Verdict, str]:
        errors = ""
        for number, result in zip(asked.images, results, strict=True):
            if isinstance(result, ServingError):
                err_no = wire_codes(result).err_no
                expected = number is None and err_no in BAD_IMAGE
                if not expected and not self._excused(asked, came, err_no):
                    return Verdict.UNEXPECTED, f"of one image: {err_no} {result}"
                if not expected:
                    errors = f"{err_no} of one image"
            elif number is None:
                return Verdict.WRONG, "categories of what is no image"
            else:
                verdict, why = self._categories(asked, came, number, result)
                if verdict is not Verdict.RIGHT:
                    return verdict, why
        return (Verdict.RIGHT_ERROR, errors) if errors else (Verdict.RIGHT, "")

    def _categories(
        self, asked: Asked, came: Came, number: int, categories: Sequence[Category]
    ) -> tuple[Verdict, str]:
        if not self._fits(number, asked.topk, categories):
            for other in range(len(self._scores)):
                if other != number and self._fits(other, asked.topk, categories):
                    return Verdict.MIXED_UP, f"image {number} got the scores of {other}"
            return Verdict.WRONG, f"scores of no image for {number}: {categories}"
        allowed = self._chronicle.allowed_generations(came.began, came.ended)
        for category in categories:
            service, generation, class_id = category.label.split()
            if service != asked.service:
                return Verdict.MIXED_UP, f"a label of {service} from {asked.service}"
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

    def _excused(self, asked: Asked, came: Came, err_no: int) -> bool:
        """Whether what was done to the service accounts for an error."""
        strained = self._chronicle.during(STRAIN, asked.service, came.began, came.ended)
        if err_no in (OVERLOADED, NOT_READY):
            return strained
        if err_no == LATE:
            taken_s = came.ended - came.began
            if asked.short:
                return taken_s >= asked.deadline_s - ROUNDING_S
            return strained and taken_s >= NOTICED * asked.deadline_s
        if err_no == FAILED:
            deaths = self._chronicle.deaths(asked.service, came.began, came.ended)
            return deaths > self._retries
        return False
