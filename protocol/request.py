"""A request to classify images, whatever wire it came over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassifyRequest:
    """Encoded images to classify, and how the caller wants the reply.

    `topk` is at least 1, or None for the service's own; `threshold` lies in 0..1; `log_id` is the
    caller's number for this request, carried to logs and errors.
    """

    images: tuple[bytes, ...]
    service: str = ""
    topk: int | None = None
    threshold: float | None = None
    log_id: int = 0
