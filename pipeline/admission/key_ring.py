"""API keys, compared in constant time, each with its rate of images."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Iterable

from protocol.errors import RateLimited, Unauthenticated

from ..settings.api_keys import ApiKey, digest

# In place of the name of a key that is missing, or not known here.
UNKNOWN_KEY = "unknown"
_HOW = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"


class KeyRing:
    """The keys that are admitted; without any, every caller is."""

    def __init__(
        self, keys: Iterable[ApiKey] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with `keys`; `clock` is monotonic, in seconds."""
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._keys: tuple[ApiKey, ...] = ()
        self.replace(keys)

    @property
    def required(self) -> bool:
        """Whether a caller needs a key."""
        return bool(self._keys)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """Take these keys from now on; a name keeps what it has used of an unchanged rate."""
        self._keys = tuple(keys)
        old, self._buckets = self._buckets, {}
        for key in self._keys:
            if key.rate is None:
                continue
            bucket = old.get(key.name)
            if bucket is None or (bucket.rate, bucket.burst) != (key.rate, key.burst):
                bucket = _Bucket(key.rate, key.burst, self._clock())
            self._buckets[key.name] = bucket

    def admit(
        self,
        authorization: str | None,
        api_key: str | None,
        on_owner: Callable[[str], None] = lambda _name: None,
    ) -> str | None:
        """Return the name of the caller whose key this is, None where none is required.

        One known key is enough: a gateway may need the other header for itself.

        Args:
            authorization: the value of the header or metadata of that name.
            api_key: the value of `x-api-key`.
            on_owner: is called with the name as soon as it is known, with `UNKNOWN_KEY` before;
                not at all where no key is required.

        Raises:
            Unauthenticated: no key, or none that is known.
            RateLimited: its rate is used up; the request need not be read.
        """
        if not self._keys:
            return None
        on_owner(UNKNOWN_KEY)
        name = self._owner(_presented(authorization, api_key))
        on_owner(name)
        # A request counts as one image before it is read, so that bad requests count too.
        if (bucket := self._buckets.get(name)) is not None:
            _check(name, bucket, bucket.admit(self._clock()))
        return name

    def spend(self, name: str | None, images: int) -> None:
        """Count the images of a request that was admitted; its first one has been counted.

        Raises:
            RateLimited: its rate does not allow them now. The request costs nothing; no other one
                is admitted before its images would be.
        """
        if name is not None and images > 1 and (bucket := self._buckets.get(name)) is not None:
            _check(name, bucket, bucket.spend(images, self._clock()))

    def _owner(self, presented: list[str]) -> str:
        owner = None
        # Every key is compared, and each in constant time: the time gives nothing away.
        for key in map(digest, presented):
            for known in self._keys:
                if hmac.compare_digest(known.digest, key):
                    owner = known.name
        if owner is None:
            raise Unauthenticated(f"this API key is not known here; {_HOW}")
        return owner


class _Bucket:
    """A token bucket: `burst` images at once, `rate` a second in the long run.

    The tokens of a request that was refused after it had been read are given back. Otherwise a
    client that tries again soon would use up what the rate brings, and never be admitted. Until its
    tokens are there nothing is admitted: the next tries are refused before they are read, so that
    they cost the service next to nothing.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._since = now
        self._awaited = 0.0  # tokens that the request which was refused last needs

    def admit(self, now: float) -> float:
        """Take one token and return 0, or take none and return the seconds to wait."""
        self._refill(now)
        needed = max(1.0, self._awaited)
        if self._tokens < needed:
            return (needed - self._tokens) / self.rate
        self._awaited = 0.0
        self._tokens -= 1
        return 0.0

    def spend(self, images: int, now: float) -> float:
        """Take the tokens of a request that has one already; or give that back, as `admit`."""
        self._refill(now)
        self._tokens += 1
        # A request larger than the whole bucket waits for a full one and leaves a debt.
        needed = min(float(images), self.burst)
        if self._tokens < needed:
            self._awaited = needed
            return (needed - self._tokens) / self.rate
        self._tokens -= images
        return 0.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + (now - self._since) * self.rate)
        self._since = now


def _check(name: str, bucket: _Bucket, wait_s: float) -> None:
    if wait_s > 0:
        raise RateLimited(
            f"{name} may send {bucket.rate:g} images a second, {bucket.burst:g} at once; "
            f"try again in {math.ceil(wait_s)} s",
            retry_after_s=wait_s,
        )


def _presented(authorization: str | None, api_key: str | None) -> list[str]:
    scheme, _, bearer = (authorization or "").partition(" ")
    keys = [(api_key or "").strip(), bearer.strip() if scheme.lower() == "bearer" else ""]
    if not any(keys):
        raise Unauthenticated(f"this service requires an API key; {_HOW}")
    return [key for key in keys if key]
