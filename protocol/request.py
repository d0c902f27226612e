"""A request to classify images, whatever wire it came over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .errors import InvalidRequest


class EncodedImage(NamedTuple):
    """One image as it came, and how its result is wanted: the record from codec to worker.

    `data` is a file's content (JPEG, PNG ...); `topk` is at least 1, or None for the service's own;
    `threshold` lies in 0..1, or is None for the service's own.
    """

    data: bytes
    topk: int | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Encoded images to classify.

    `log_id` is the caller's number for this request, carried to logs and errors; `form` is the form
    of the reply that the caller names, for a codec that has several, or "".
    """

    images: tuple[EncodedImage, ...]
    service: str = ""
    log_id: int = 0
    form: str = ""


def check_images(count: int, most: int) -> None:
    """Check the number of images of a request, before they are decoded.

    Raises:
        InvalidRequest: there are more than `most`.
    """
    if count > most:
        raise InvalidRequest(f"{count} images in one request; the most is {most}")


def encoded(
    images: Iterable[bytes], topk: int | None = None, threshold: float | None = None
) -> tuple[EncodedImage, ...]:
    """Return a record for each file's content, all with the same options."""
    return tuple(EncodedImage(data, topk, threshold) for data in images)
