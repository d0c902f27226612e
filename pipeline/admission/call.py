"""What a transport gives of one request, before anything of its body has been read."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

from protocol.errors import ServingError

from .deadline import Deadline
from .offload import Lane


class Call(Protocol):
    """One request on its transport; a unary call of any wire.

    Attributes:
        wire: its name in metrics, logs and traces.
        client: the address that it came from.
        began: when its first byte came, by `time.monotonic`.
        headers: by name in lower case; at least `authorization`, `x-api-key` and `traceparent`,
            where the caller sent them.
        from_browsers: whether a web page may have made it, so that its origin is checked.
        service: the service that the address names; None where the body names it.
        content_type: the header of that name, or "".
        options: the options that stand in the address, as text by name.
    """

    @property
    def wire(self) -> str: ...  # noqa: D102 - see above
    @property
    def client(self) -> str: ...  # noqa: D102
    @property
    def began(self) -> float: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def from_browsers(self) -> bool: ...  # noqa: D102
    @property
    def service(self) -> str | None: ...  # noqa: D102
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def options(self) -> Mapping[str, str]: ...  # noqa: D102 - may raise InvalidRequest

    def deadline(self) -> Deadline:
        """Return the caller's own deadline, which runs from the first byte of the request.

        Raises:
            InvalidRequest: it cannot be read.
        """
        ...

    async def receive(self, deadline: Deadline, lane: Lane) -> bytes:
        """Return the whole body, within the transport's bounds and `deadline`.

        Its bytes are added to the reservation of `lane`; a transport that receives in pieces adds
        each of them before it takes the next. What is costly about it is done in `lane`.

        Raises:
            ServingError: it is too large, too slow, or finds no room.
            CallerLeft: it will never be whole.
        """
        ...

    def departure(self) -> Awaitable[object] | None:
        """Return what ends when the caller leaves, after `receive`.

        None where the transport cancels the task of such a call by itself.
        """
        ...


class CallerLeft(Exception):
    """The caller does not wait for the reply any more, so none is written.

    `reason` is the error that the transport itself has reported to the caller, if it has.
    """

    def __init__(self, reason: ServingError | None = None) -> None:
        super().__init__(str(reason or "the caller left"))
        self.reason = reason
