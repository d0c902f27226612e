"""The reply to a classification, whatever wire it goes out on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import ServingError


@dataclass(frozen=True, slots=True)
class Category:
    """One class of the model with its score in 0..1."""

    class_id: int
    label: str
    score: float


Categories: TypeAlias = tuple[Category, ...]
ImageResult: TypeAlias = Categories | ServingError


@dataclass(frozen=True, slots=True)
class ClassifyReply:
    """One result per image, in the request's order: its categories, best first, or its error."""

    results: tuple[ImageResult, ...]

    def categories(self) -> int:
        """Return how many categories all images have together."""
        return sum(len(each) for each in self.results if not isinstance(each, ServingError))


def whole_failure(reply: ClassifyReply) -> ServingError | None:
    """Return the error of the request if every image failed, else None."""
    errors = [result for result in reply.results if isinstance(result, ServingError)]
    return errors[0] if errors and len(errors) == len(reply.results) else None
