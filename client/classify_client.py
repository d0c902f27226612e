"""What both clients do alike: read images, retry, send several at a time in order."""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

from protocol.errors import NotReady, Overloaded, RateLimited, ServiceClosed, ServingError
from protocol.reply import Categories, ClassifyReply, ImageResult
from protocol.request import ClassifyRequest

from .errors import BadAnswer, ConnectionLost, UnreadableImage

Image: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str]"

DEFAULT_TIMEOUT_S = 10.0
DEFAULT_JOBS = 4
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
# Classifying changes nothing on the server, so that sending again is safe after all of these.
PASSING = (Overloaded, RateLimited, NotReady, ServiceClosed, ConnectionLost)

_Self = TypeVar("_Self", bound="ClassifyClient")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one image: its categories, best first, or its error."""

    image: Image
    result: ImageResult
    seconds: float

    @property
    def error(self) -> ServingError | None:
        """The error, or None if the image was answered."""
        return self.result if isinstance(self.result, ServingError) else None

    @property
    def categories(self) -> Categories:
        """The categories, best first; raises the error of an image that failed."""
        if isinstance(self.result, ServingError):
            raise self.result
        return self.result


class ClassifyClient(ABC):
    """Sends images to one service and returns typed answers; safe to use from several threads.

    Args:
        service: the service's name.
        timeout_s: seconds for one request, retries and their pauses included.
        retries: how often a request is sent again after a passing refusal (`PASSING`).
    """

    def __init__(self, *, service: str, timeout_s: float, retries: int) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be more than 0, got {timeout_s}")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}")
        self.service = service
        self._timeout_s = timeout_s
        self._retries = retries

    def classify(
        self,
        image: Image,
        topk: int | None = None,
        threshold: float | None = None,
        log_id: int = 0,
    ) -> Categories:
        """Classify one image: its encoded bytes, or the path of its file.

        Returns:
            Its categories, best first; empty only if none reaches `threshold`.

        Raises:
            ServingError: the error the service tells, or a ClientError.
        """
        request = ClassifyRequest(
            images=(_read(image),),
            service=self.service,
            topk=topk,
            threshold=threshold,
            log_id=log_id,
        )
        result = self.send(request).results[0]
        if isinstance(result, ServingError):
            raise result
        return result

    def classify_many(
        self,
        images: Iterable[Image],
        topk: int | None = None,
        threshold: float | None = None,
        jobs: int = DEFAULT_JOBS,
    ) -> Generator[Answer, None, None]:
        """Classify images, `jobs` at a time, one request each; yield answers in input order.

        Few images are held at once, so that `images` may be endless. An image that fails is an
        Answer with its error; nothing is raised for it.
        """
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")

        def answer(image: Image) -> Answer:
            start = time.perf_counter()
            result: ImageResult
            try:
                result = self.classify(image, topk, threshold)
            except ServingError as error:
                result = error
            return Answer(image, result, time.perf_counter() - start)

        running: deque[Future[Answer]] = deque()
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="classify")
        try:
            for image in images:
                running.append(pool.submit(answer, image))
                if len(running) >= 2 * jobs:
                    yield running.popleft().result()
                while running and running[0].done():
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def send(self, request: ClassifyRequest) -> ClassifyReply:
        """Send one request, of one image or several; retry passing refusals in the time given.

        Raises:
            ServingError: the request failed as a whole. Single images' errors stand in the reply.
        """
        deadline = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            try:
                reply = self._exchange(request, deadline - time.monotonic())
                break
            except PASSING:
                pause = _pause(attempt)
                if attempt >= self._retries or time.monotonic() + pause >= deadline:
                    raise
            attempt += 1
            time.sleep(pause)
        if len(reply.results) != len(request.images):
            raise BadAnswer(
                f"{self._where} answered {len(reply.results)} of {len(request.images)} images"
            )
        return reply

    @property
    @abstractmethod
    def _where(self) -> str:
        """The server's address, for messages."""

    @abstractmethod
    def _exchange(self, request: ClassifyRequest, timeout_s: float) -> ClassifyReply:
        """Send `request` once and read its answer within `timeout_s`."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections; the client cannot be used again."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def _pause(attempt: int) -> float:
    """Return seconds to wait: doubling, and spread, so that callers do not return as one."""
    return random.uniform(0.5, 1.0) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)


def _read(image: Image) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    try:
        return Path(image).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(f"cannot read {os.fspath(image)}: {reason.lower()}") from error
