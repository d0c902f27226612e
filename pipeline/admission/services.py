"""The services of this process by name, for every wire."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from protocol.errors import NotReady, ServiceClosed, ServiceNotFound
from protocol.reply import ClassifyReply, ImageResult, whole_failure
from protocol.request import ClassifyRequest, EncodedImage, check_images

from ..changes import Changes, Listener, Unsubscribe


class Classifying(Protocol):
    """What a host needs of an engine; `pipeline.engine.Engine` is one."""

    @property
    def ready(self) -> bool:
        """Whether an image that is sent now would be classified."""
        ...

    def on_change(self, listener: Listener) -> Unsubscribe:
        """Have `listener` called after each change of `ready`, until the returned function is.

        It is called on the event loop of the process, takes no time, and reads `ready` itself. The
        returned function must not keep the engine in memory; `pipeline.changes.Changes` does all
        this. An engine that learns its state from elsewhere calls it when it learns of a change.
        """
        ...

    @property
    def timeout_s(self) -> float | None:
        """The seconds within which a request is answered, None for no bound of its own."""
        ...

    async def classify(
        self,
        images: tuple[EncodedImage, ...],
        *,
        timeout_s: float | None,
        log_id: int,
        works: Sequence[float] | None,
    ) -> list[ImageResult]:
        """Return one result per image, in order; raises ServingError for the request as a whole.

        `works` are the estimated megapixels of each image; None: the engine estimates them.
        """
        ...


class Services:
    """Finds the engine that a request names, and has it classify.

    `max_images` is the most that one request may have.

    `phase` is "starting", then "ready", then "leaving" (not ready, and requests are answered all
    the same), then "stopping"; the standalone host moves it on.
    """

    def __init__(self, engines: Mapping[str, Classifying], *, max_images: int) -> None:
        self._changes = Changes()
        self._unsubscribes: list[Unsubscribe] = []
        self._phase = "starting"
        self._phase_since = time.monotonic()
        self.replace(engines, max_images=max_images)

    def replace(self, engines: Mapping[str, Classifying], *, max_images: int) -> None:
        """Serve these engines from now on; what the others have is theirs to finish."""
        for unsubscribe in self._unsubscribes:
            unsubscribe()
        self._engines = dict(engines)
        self.max_images = max_images
        notify = self._changes.notify
        self._unsubscribes = [engine.on_change(notify) for engine in self._engines.values()]
        notify()

    def on_change(self, listener: Listener) -> Unsubscribe:
        """Have `listener` called when `phase`, `names`, `ready` or a `state` may have changed."""
        return self._changes.subscribe(listener)

    @property
    def phase(self) -> str:
        """What the process does now, see the class."""
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        self._phase = phase
        self._phase_since = time.monotonic()
        self._changes.notify()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services, in the order of the configuration."""
        return tuple(self._engines)

    @property
    def leaving(self) -> bool:
        """Whether clients should use another replica from now on."""
        return self.phase in ("leaving", "stopping")

    @property
    def ready(self) -> bool:
        """Whether every service can answer now."""
        return self.phase == "ready" and all(engine.ready for engine in self._engines.values())

    def state(self, name: str) -> str:
        """Return "ready", "not ready", or the phase of the whole process."""
        if self.phase != "ready":
            return self.phase
        return "ready" if self._engines[name].ready else "not ready"

    def admit(self, began: float) -> None:
        """Take a request whose first byte came at `began`, a time of `time.monotonic`.

        Raises:
            ServiceClosed: the service was stopping by then. What began before is still answered.
        """
        if self.phase == "stopping" and began >= self._phase_since:
            raise ServiceClosed("the service is stopping; send the request to another replica")

    def require(self, name: str) -> str:
        """Return the name of the service that `name` means; an empty one means the only one.

        Raises:
            ServiceNotFound: there is none of that name; the text lists those there are.
        """
        if not name and len(self._engines) == 1:
            return next(iter(self._engines))
        if name not in self._engines:
            raise self._no_service(name)
        return name

    def timeout_s(self, name: str | None) -> float | None:
        """Return the seconds within which the service of that name answers.

        Where the name is not known here, or not yet, it is the longest of all; None is no bound.
        """
        named = self._engines.get(name or "")
        if named is not None:
            return named.timeout_s
        bounds = [engine.timeout_s for engine in self._engines.values()]
        return None if None in bounds else max(filter(None, bounds), default=None)

    def presumed(self, name: str | None) -> str | None:
        """Return the service of a request that is refused before its body is read, if it is known.

        `name` is that of its address, None over a wire that has none there.
        """
        if not name:
            return next(iter(self._engines)) if len(self._engines) == 1 else None
        return name if name in self._engines else None

    async def classify(
        self,
        request: ClassifyRequest,
        timeout_s: float | None = None,
        works: Sequence[float] | None = None,
    ) -> ClassifyReply:
        """Answer `request` within `timeout_s` seconds (None: the service's own deadline).

        `request.service` is a name that `require` has returned; `works` as `Classifying` has it.

        Raises:
            ServingError: the request as a whole failed, or every image of it did.
        """
        engine = self._engines.get(request.service)
        if engine is None:  # a reload took it away while the body arrived
            raise self._no_service(request.service)
        if self.phase == "starting":
            raise NotReady("the service is starting; ask /health/ready and try again")
        check_images(len(request.images), self.max_images)
        results = await engine.classify(
            request.images, timeout_s=timeout_s, log_id=request.log_id, works=works
        )
        reply = ClassifyReply(tuple(results))
        failure = whole_failure(reply)
        if failure is not None:
            raise failure
        return reply

    def _no_service(self, name: str) -> ServiceNotFound:
        names = ", ".join(self._engines)
        if not name:
            return ServiceNotFound(f"the request names no service; services: {names}")
        return ServiceNotFound(f"there is no service {name[:64]!r} here; services: {names}")
