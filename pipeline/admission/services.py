"""The services of this process by name: what HTTP and RPC both ask, so that neither decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from protocol.errors import (
    InvalidRequest,
    NotReady,
    PredictionFailed,
    ServiceClosed,
    ServiceNotFound,
)
from protocol.reply import ClassifyReply, ImageResult, whole_failure
from protocol.request import ClassifyRequest

logger = logging.getLogger(__name__)

_Written = TypeVar("_Written")


class Classifying(Protocol):
    """What a host needs of an engine; `pipeline.engine.Engine` is one."""

    @property
    def ready(self) -> bool:
        """Whether a picture that is sent now would be answered."""
        ...

    async def classify(
        self,
        images: tuple[bytes, ...],
        *,
        topk: int | None,
        threshold: float | None,
        timeout_s: float | None,
        log_id: int,
    ) -> list[ImageResult]:
        """Answer one result a picture, in order; raises ServingError for the request as a whole."""
        ...


class Services:
    """Finds the engine a request names, and answers it.

    `phase` is "starting", then "ready", then "stopping"; the standalone host moves it on.
    """

    def __init__(self, engines: Mapping[str, Classifying], *, max_images: int) -> None:
        self._engines = dict(engines)
        self._max_images = max_images
        self.phase = "starting"

    def replace(self, engines: Mapping[str, Classifying], *, max_images: int) -> None:
        """Serve these engines from now on; what the others have is theirs to finish."""
        self._engines = dict(engines)
        self._max_images = max_images

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services, in the order of the configuration."""
        return tuple(self._engines)

    @property
    def ready(self) -> bool:
        """Whether every service can answer now."""
        return self.phase == "ready" and all(engine.ready for engine in self._engines.values())

    def state(self, name: str) -> str:
        """Return "ready", "not ready", or the phase of the whole process."""
        if self.phase != "ready":
            return self.phase
        return "ready" if self._engines[name].ready else "not ready"

    def require(self, name: str) -> str:
        """Return the name of the service that `name` means; an empty one means the only one.

        Raises:
            ServiceNotFound: there is none of that name; the text lists those there are.
        """
        if not name and len(self._engines) == 1:
            return next(iter(self._engines))
        if name not in self._engines:
            raise ServiceNotFound(
                f"there is no service {name[:64]!r} here; services: {', '.join(self._engines)}"
            )
        return name

    async def classify(
        self, request: ClassifyRequest, timeout_s: float | None = None
    ) -> ClassifyReply:
        """Answer `request` within `timeout_s` seconds (None: the service's own deadline).

        Raises:
            ServingError: the request as a whole failed, or every picture of it did.
        """
        engine = self._engines[self.require(request.service)]
        if self.phase == "stopping":
            raise ServiceClosed("the service is stopping; send the request to another replica")
        if self.phase == "starting":
            raise NotReady("the service is starting; ask /health/ready and try again")
        if len(request.images) > self._max_images:
            raise InvalidRequest(
                f"{len(request.images)} pictures in one request; the most is {self._max_images}"
            )
        results = await engine.classify(
            request.images,
            topk=request.topk,
            threshold=request.threshold,
            timeout_s=timeout_s,
            log_id=request.log_id,
        )
        reply = ClassifyReply(tuple(results))
        failure = whole_failure(reply)
        try:
            if failure is not None:
                raise failure
            return reply
        finally:
            # The error leads back to this frame, and so would the pictures stay in memory.
            del request, results, reply, failure


def written(reply: ClassifyReply, write: Callable[[ClassifyReply], _Written]) -> _Written:
    """Return `reply` as `write` has it on the wire.

    Raises:
        PredictionFailed: it cannot be written; a classifier of somebody's own may have made labels
            that are no text.
    """
    try:
        return write(reply)
    except Exception as error:
        logger.error("an answer cannot be written", exc_info=error)
        raise PredictionFailed(
            "the classifier's answer is no text; see the service's log"
        ) from None
