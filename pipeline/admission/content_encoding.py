"""A body that was compressed on its way: Content-Encoding gzip or deflate, unpacked within bounds.

A few kilobytes can unpack to gigabytes. So a body is unpacked in steps of a megabyte, in the thread
that parses bodies, and after each step three bounds are checked: the limit of a body, the in-flight
budget, and how many times its size a body may unpack to.

Formats: RFC 1952 (gzip), RFC 1950 (deflate; some programs send RFC 1951 under that name).
"""

from __future__ import annotations

import functools
import io
import time
import zlib
from collections.abc import Iterable

from protocol.errors import InvalidRequest, TooLarge, UnsupportedEncoding

from .deadline import Deadline
from .offload import Lane

ENCODINGS = ("gzip", "deflate")
# Photos in base64 unpack to 1.3 times their size, a blank page as BMP to some hundred times.
MOST_TIMES = 200
# So much is unpacked whatever the size of the body is.
FREE_BYTES = 4 * 2**20
_STEP = 2**20  # bytes that come out in one step, at most
_FIRST_STEP = 128 * 1024  # the same on the event loop: a third of a millisecond
_PIECE = 64 * 1024  # bytes that go in at once
# A member costs 7 microseconds to begin. Programs that write many (bgzip) give each kilobytes.
_FREE_MEMBERS = 100
_LEAST_MEMBER = 1024  # bytes of a body for each further one
_MEMBERS_AT_ONCE = 1000
_FIRST_MEMBERS = 8
_LONGEST_NAMES = 200
_GZIP_MAGIC = b"\x1f\x8b"


def encoding_of(values: Iterable[str]) -> str:
    """Return which of `ENCODINGS` the values of the header Content-Encoding name; "" for none.

    Raises:
        UnsupportedEncoding: they name another one, or several.
    """
    text = ",".join(values)
    named = [name.strip().lower() for name in text[:_LONGEST_NAMES].split(",")]
    named = [name.removeprefix("x-") for name in named if name not in ("", "identity")]
    if not named:
        return ""
    if len(named) > 1 or named[0] not in ENCODINGS:
        raise UnsupportedEncoding(
            f"Content-Encoding: {', '.join(named)[:60]} is not read; send the body as it is, or "
            f"with {' or '.join(ENCODINGS)}"
        )
    return named[0]


async def unpacked(body: bytes, encoding: str, limit: int, lane: Lane) -> bytes:
    """Return what `body` unpacks to, at most `limit` bytes; they are added to the reservation.

    What takes longer than a millisecond is unpacked in `lane`.

    Raises:
        InvalidRequest: it is not in that encoding, or is damaged or cut off.
        TooLarge: it unpacks to more than `limit`, or to more than `MOST_TIMES` its size.
        Overloaded: the in-flight budget has no room.
        DeadlineExceeded: the service's timeout has passed.
    """
    lane.arrived = time.monotonic()
    deadline = Deadline(lane.timeout_s, lane.arrived)
    unpacker = _Unpacker(body, encoding)
    whole = io.BytesIO()
    size = _FIRST_STEP
    while not unpacker.is_done:
        if size == _FIRST_STEP:
            piece = unpacker.step(size, _FIRST_MEMBERS)
        else:
            step = functools.partial(unpacker.step, size, _MEMBERS_AT_ONCE)
            piece = await deadline.within(lane.run(len(body), step), "to be unpacked")
        size = _STEP
        lane.reservation.add(len(piece))
        whole.write(piece)
        if whole.tell() > limit:
            raise TooLarge(f"the body unpacks to more than the limit of {limit / 2**20:g} MiB")
        if whole.tell() > max(FREE_BYTES, MOST_TIMES * len(body)):
            raise TooLarge(
                f"the body unpacks to more than {MOST_TIMES} times its size; send it as it is"
            )
    return whole.getvalue()


class _Unpacker:
    """Unpacks one body step by step."""

    def __init__(self, body: bytes, encoding: str) -> None:
        self.is_done = False
        self._body = memoryview(body)
        self._encoding = encoding
        self._window = _window(body, encoding)
        self._at = 0
        self._packed = b""
        self._members = 0
        self._most_members = _FREE_MEMBERS + len(body) // _LEAST_MEMBER
        self._inflater = self._next_member()

    def step(self, most: int, members: int) -> bytes:
        """Return the next bytes, at most `most`, from as many of the body and so many members.

        Raises:
            InvalidRequest: the body is damaged or cut off, or something is behind its end.
        """
        out = io.BytesIO()
        begin, members = self._at, self._members + members
        while not self.is_done and out.tell() < most and self._at - begin < most:
            if self._members >= members:
                break
            if not self._packed:
                self._packed = bytes(self._body[self._at : self._at + _PIECE])
                self._at += len(self._packed)
            if self._inflater.eof:
                self._end_of_member()
                continue
            if not self._packed:
                raise self._broken("it is cut off")
            try:
                out.write(self._inflater.decompress(self._packed, most - out.tell()))
            except zlib.error as error:
                raise self._broken(str(error).rpartition(": ")[2]) from error
            self._packed = self._inflater.unused_data or self._inflater.unconsumed_tail
        return out.getvalue()

    def _end_of_member(self) -> None:
        if not self._packed:
            self.is_done = True
        elif self._encoding == "gzip" and self._packed.startswith(_GZIP_MAGIC[:1]):
            self._inflater = self._next_member()
        else:
            raise self._broken("something is behind its end")

    def _next_member(self) -> zlib._Decompress:
        self._members += 1
        if self._members > self._most_members:
            raise self._broken(f"it has more than {self._most_members} members; pack it as one")
        return zlib.decompressobj(self._window)

    def _broken(self, why: str) -> InvalidRequest:
        return InvalidRequest(f"the body cannot be unpacked as {self._encoding}: {why}")


def _window(body: bytes, encoding: str) -> int:
    """Return zlib's number for the format.

    Raises:
        InvalidRequest: the body does not begin as that format does.
    """
    if encoding == "gzip":
        if not body.startswith(_GZIP_MAGIC):
            raise InvalidRequest(
                "the header says Content-Encoding: gzip, and the body is not packed with gzip; "
                "leave the header out"
            )
        return 16 + zlib.MAX_WBITS
    has_head = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.MAX_WBITS if has_head else -zlib.MAX_WBITS
