"""What both clients share: they read images, retry, and send several at a time, in order."""

from __future__ import annotations

import math
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
from protocol.request import ClassifyRequest, encoded

from .deadline import Deadline
from .errors import BadReply, ConnectionLost, NotListening, UnreadableImage

ImageSource: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str]"

DEFAULT_TIMEOUT_S = 10.0
# Unpacked: a few images with all categories of a model of 20,000 classes.
DEFAULT_MAX_REPLY_BYTES = 16 << 20
DEFAULT_JOBS = 4
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
# Another attempt needs so much of the time; with less the error is more useful than a timeout.
LEAST_S = 0.2
# So long a service may take until it listens: its ports are open before its model is loaded.
LISTEN_PATIENCE_S = 5.0
# Errors that may pass by themselves. Classifying changes nothing on the server, so a request may be
# sent again after any of them, also where it may have been computed.
PASSING = (Overloaded, RateLimited, ServiceClosed, ConnectionLost)

_Self = TypeVar("_Self", bound="ClassifyClient")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one image: its categories, best first, or its error."""

    image: ImageSource
    result: ImageResult
    seconds: float

    @property
    def error(self) -> ServingError | None:
        """The error, or None if the image was classified."""
        return self.result if isinstance(self.result, ServingError) else None

    @property
    def categories(self) -> Categories:
        """The categories, best first; raises the error of an image that failed."""
        if isinstance(self.result, ServingError):
            raise self.result
        return self.result


class ClassifyClient(ABC):
    """Sends images to one service and returns typed results; safe to use from several threads.

    Args:
        service: the service's name.
        timeout_s: seconds for one request, retries and their pauses included.
        retries: how often a request is sent again after an error that may pass (`PASSING`). A
            service that starts is waited for in any case: one that is `NotReady` for the whole
            time, one that does not listen for `LISTEN_PATIENCE_S`.
        max_reply_bytes: bytes of a reply, unpacked; a larger one is a BadReply.
    """

    def __init__(
        self,
        *,
        service: str,
        timeout_s: float,
        retries: int,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
    ) -> None:
        if not 0 < timeout_s < math.inf:
            raise ValueError(f"timeout_s must be seconds above 0, got {timeout_s}")
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}")
        if max_reply_bytes < 1:
            raise ValueError(f"max_reply_bytes must be 1 or more, got {max_reply_bytes}")
        self.service = service
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_reply_bytes = max_reply_bytes

    def classify(
        self,
        image: ImageSource,
        topk: int | None = None,
        threshold: float | None = None,
        log_id: int = 0,
    ) -> Categories:
        """Classify one image: its encoded bytes, or the path of its file.

        Returns:
            Its categories, best first; empty only if none reaches `threshold`.

        Raises:
            ServingError: the service's error, or a ClientError.
        """
        images = encoded([_read(image)], topk, threshold)
        request = ClassifyRequest(images, self.service, log_id)
        result = self.send(request).results[0]
        if isinstance(result, ServingError):
            raise result
        return result

    def classify_many(
        self,
        images: Iterable[ImageSource],
        topk: int | None = None,
        threshold: float | None = None,
        jobs: int = DEFAULT_JOBS,
    ) -> Generator[Outcome, None, None]:
        """Classify images, `jobs` at a time, one request each; yield outcomes in input order.

        Only a few images are in memory at once, so `images` may be endless. An image that fails is
        an Outcome with its error; nothing is raised for it.
        """
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {jobs}")

        def classify(image: ImageSource) -> Outcome:
            start = time.perf_counter()
            result: ImageResult
            try:
                result = self.classify(image, topk, threshold)
            except ServingError as error:
                result = error
            return Outcome(image, result, time.perf_counter() - start)

        running: deque[Future[Outcome]] = deque()
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="classify")
        try:
            for image in images:
                running.append(pool.submit(classify, image))
                if len(running) >= 2 * jobs:
                    yield running.popleft().result()
                while running and running[0].done():
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def send(self, request: ClassifyRequest) -> ClassifyReply:
        """Send one request, of one image or several; retry within the timeout.

        Raises:
            ServingError: the request failed as a whole. Errors of single images are in the reply.
        """
        deadline = Deadline(self._timeout_s)
        listen = deadline.sooner(LISTEN_PATIENCE_S)
        attempt = retried = 0
        while True:
            try:
                reply = self._exchange(request, deadline)
                break
            except (*PASSING, NotReady, NotListening) as error:
                retried += isinstance(error, PASSING)
                patient = listen if isinstance(error, NotListening) else deadline
                pause = _pause(attempt)
                if retried > self._retries or pause + LEAST_S >= patient.left_s():
                    raise
            attempt += 1
            time.sleep(pause)
        if len(reply.results) != len(request.images):
            raise BadReply(
                f"{self._where} sent {len(reply.results)} results for {len(request.images)} images"
            )
        return reply

    @property
    @abstractmethod
    def _where(self) -> str:
        """The server's address, for messages."""

    @abstractmethod
    def _exchange(self, request: ClassifyRequest, deadline: Deadline) -> ClassifyReply:
        """Send `request` once and read its reply until `deadline`."""

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
    """Return seconds to wait: doubled each time, and random so that callers spread."""
    return random.uniform(0.5, 1.0) * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)


def _read(image: ImageSource) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    try:
        return Path(image).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(f"cannot read {os.fspath(image)}: {reason.lower()}") from error
